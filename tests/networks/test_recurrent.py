"""Recurrent networks against the recursion written out."""

import functools

import pytest
import torch

import ppvae
from ppvae import diagnostics, likelihoods, networks, posteriors, priors

FALSE_ALARM_ERRORS = 4.5  # standard errors, passed by chance once in 300,000 comparisons


def step(recurrent, layer, x, h):
    """One step of a GRU: Cho et al., 2014, in the form that torch documents."""
    of = lambda name: getattr(recurrent, f"{name}_l{layer}")  # noqa: E731
    inputs = (of("weight_ih") @ x + of("bias_ih")).chunk(3)
    states = (of("weight_hh") @ h + of("bias_hh")).chunk(3)
    reset, update = (torch.sigmoid(a + b) for a, b in zip(inputs[:2], states[:2], strict=True))
    new = torch.tanh(inputs[2] + reset * states[2])
    return (1 - update) * new + update * h


def top_states(network, steps):
    """Return the states of the last layer, step by step, of one sequence."""
    states, top = [torch.zeros(network.width).double()] * network.depth, []
    for x in steps:
        for layer in range(network.depth):
            states[layer] = x = step(network.recurrent, layer, x, states[layer])
        top.append(x)
    return top


@pytest.mark.parametrize("depth", [1, 3])
@torch.no_grad()
def test_encoder_is_the_recursion(depth):
    torch.manual_seed(0)
    network = networks.GRUEncoder((6, 2), 3, width=5, depth=depth).double()
    x = torch.randn(6, 2).double()
    torch.testing.assert_close(network(x), network.last(top_states(network, x)[-1]))


@pytest.mark.parametrize("depth", [1, 3])
@torch.no_grad()
def test_decoder_is_the_recursion_given_z_at_every_step(depth):
    torch.manual_seed(0)
    network = networks.GRUDecoder(3, (6, 2), width=5, depth=depth).double()
    z = torch.randn(3).double()
    expected = torch.stack([network.last(h) for h in top_states(network, [z] * 6)])
    torch.testing.assert_close(network(z), expected)


def waves(rows):
    """Waves whose phase is drawn, read at ten times with an error of 0.1."""
    phase = 2 * torch.pi * torch.rand(rows, 1)
    return (torch.sin(torch.arange(10) / 2 + phase) + 0.1 * torch.randn(rows, 10))[..., None]


@pytest.mark.slow
def test_pair_learns_sequences():
    """Better than any normal of the ten times alone, each of variance 1/2 + 0.01."""
    pair = ppvae.VAE(
        priors.StandardNormal(2),
        likelihoods.Normal(
            networks.GRUDecoder(2, (10, 1), width=32),
            scale=likelihoods.LearnedScale(),
            event_dim=2,
        ),
        posteriors.DiagonalNormal(networks.GRUEncoder((10, 1), 4, width=32)),
    )
    adam = functools.partial(torch.optim.Adam, lr=1e-2)
    ppvae.fit(pair, waves(1000), steps=300, optimizer=adam, compile=False, seed=0)
    elbo = diagnostics.evidence(pair, waves(200), draws=50).elbo
    alone = -10 * torch.distributions.Normal(0.0, 0.51**0.5).entropy().item()
    assert elbo.mean() - FALSE_ALARM_ERRORS * elbo.std() / 200**0.5 > alone
    assert pair.sample(4).shape == (4, 10, 1)
