"""Sequences: the Kalman filter's answers, and what padding must not change."""

import math
from dataclasses import replace

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import nn
from torch.distributions import MultivariateNormal

import ppvae
from ppvae import data, diagnostics, likelihoods, networks, posteriors, priors
from ppvae.pairs import DeepMarkovModel

FALSE_ALARM_ERRORS = 4.5  # standard errors, passed by chance once in 150,000 comparisons
STEPS, FEATURES, LATENT = 6, 3, 2
INNER, OUTER = 0.6, 0.8  # standard deviations of transition and emission
TURN = 0.9 * torch.tensor([[math.cos(0.5), -math.sin(0.5)], [math.sin(0.5), math.cos(0.5)]])
LENGTHS = torch.tensor([6, 1, 4, 2, 6, 5, 3, 6])


def raw(scale):
    return math.log(math.expm1(scale))


def linear(weight, scale):
    """A layer to loc, linear in the input, and a constant raw scale."""
    layer = nn.Linear(weight.shape[1], 2 * len(weight)).double()
    layer.weight.data = torch.cat([weight, torch.zeros_like(weight)]).double()
    layer.bias.data = torch.tensor([0.0] * len(weight) + [raw(scale)] * len(weight)).double()
    return layer


def emission():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(FEATURES, LATENT, generator=generator).double()


def linear_gaussian():
    """A linear chain whose guide is any: a recurrent network with random weights."""
    torch.manual_seed(3)
    decoder = nn.Linear(LATENT, FEATURES, bias=False).double()
    decoder.weight.data = emission()
    likelihood = likelihoods.EachStep(likelihoods.Normal(decoder, scale=OUTER))
    prior = priors.Markov(linear(TURN, INNER), LATENT, STEPS)
    guide = posteriors.Markov(
        networks.BackwardGRU((STEPS, FEATURES), 16),
        networks.Joined(nn.Linear(LATENT + 16, 2 * LATENT)),
        LATENT,
    )
    return DeepMarkovModel(prior, likelihood, guide).double()


def joint(length):
    """The density of x_1, ..., x_length, flattened, by the joint normal of all states."""
    blocks = torch.zeros(length, length, LATENT, LATENT).double()
    covariance = torch.zeros(LATENT, LATENT).double()
    turn = TURN.double()
    for t in range(length):
        covariance = turn @ covariance @ turn.T + INNER**2 * torch.eye(LATENT).double()
        blocks[t, t] = covariance
        for later in range(t + 1, length):
            blocks[later, t] = turn @ blocks[later - 1, t]
            blocks[t, later] = blocks[later, t].T
    states = blocks.permute(0, 2, 1, 3).reshape(length * LATENT, -1)
    every = torch.block_diag(*[emission()] * length)
    noise = OUTER**2 * torch.eye(length * FEATURES).double()
    return MultivariateNormal(
        torch.zeros(length * FEATURES).double(), every @ states @ every.T + noise
    )


def drawn(lengths=LENGTHS):
    torch.manual_seed(1)
    x = torch.zeros(len(lengths), STEPS, FEATURES).double()
    for row, length in enumerate(lengths.tolist()):
        x[row, :length] = joint(length).sample().reshape(length, FEATURES)
    return x


def exact(x, lengths=LENGTHS):
    rows = zip(x, lengths.tolist(), strict=True)
    return torch.stack([joint(n).log_prob(one[:n].flatten()) for one, n in rows])


def test_refined_evidence_is_that_of_the_kalman_filter():
    pair, x = linear_gaussian(), drawn()
    refined = ppvae.refine(pair, (x, LENGTHS), draws=1000)
    found = diagnostics.evidence(pair, (x, LENGTHS), posterior=refined)
    assert bool(refined.table.trusted.all())
    errors = (found.log_evidence.values - exact(x).numpy()) / found.log_evidence_error.values
    assert np.abs(errors).max() < FALSE_ALARM_ERRORS


def test_a_chain_has_the_density_of_its_steps():
    pair = linear_gaussian()
    z = pair.prior().sample((4,))
    before = torch.cat([torch.zeros(4, 1, LATENT).double(), z[:, :-1]], 1)
    steps = torch.distributions.Normal(before @ TURN.T.double(), INNER).log_prob(z).sum((1, 2))
    torch.testing.assert_close(pair.prior().log_prob(z), steps)


def loss_and_gradients(pair, x):
    pyro.set_rng_seed(0)
    pair.zero_grad()
    loss = Trace_ELBO().differentiable_loss(pair.model, pair.guide, x, LENGTHS)
    loss.backward()
    return [loss.detach(), *(p.grad.clone() for p in pair.parameters())]


@pytest.mark.parametrize("single", [False, True])
def test_padding_changes_no_bit(single):
    pair, x = linear_gaussian(), drawn()
    if single:  # where the density of what is absurd is infinite
        pair, x = DeepMarkovModel.of(data.state_space(100, STEPS, shortest=1)), x.float()
    padded = (torch.arange(STEPS) >= LENGTHS.unsqueeze(-1)).unsqueeze(-1)
    first, second = (
        loss_and_gradients(pair, torch.where(padded, absurd, x)) for absurd in (0.0, -1e30)
    )
    assert all(map(torch.equal, first, second))
    assert all(bool(gradient.isfinite().all()) for gradient in first)


@pytest.mark.parametrize("likelihood", [None, likelihoods.StudentT])
def test_units_of_the_data_are_a_jacobian(likelihood):
    """Of the steps that are there: what fills the others up is not of these units."""
    series, scale = data.state_space(100, STEPS, shortest=2), 1000.0
    units = {part: 5e4 + scale * getattr(series, part) for part in ("train", "validation", "test")}
    losses = []
    for dataset in (series, replace(series, **units)):
        torch.manual_seed(0)
        pair = DeepMarkovModel.of(dataset, latent=LATENT, likelihood=likelihood)
        ppvae.fit(pair, dataset, steps=3, batch_size=20, compile=False)
        pyro.set_rng_seed(0)
        losses.append(Trace_ELBO().loss(pair.model, pair.guide, *dataset.batch("test")))
    numbers = int(series.conditions["test"][0].sum()) * FEATURES
    assert math.isclose(losses[1], losses[0] + numbers * math.log(scale), rel_tol=1e-4)


def test_a_standardization_is_that_of_every_step_or_found_of_those_that_are_there():
    series = data.state_space(100, STEPS, shortest=2)
    by = data.Standardization(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, 6.0]))
    of_cells = data.Standardization.of(series.train)
    found = [
        DeepMarkovModel.of(each).likelihood.likelihood.units.loc
        for each in (series, series.standardized(by), series.standardized(of_cells))
    ]
    assert torch.equal(found[1], by.loc)
    assert torch.equal(found[2], found[0])


def test_binary_sequences_get_a_bernoulli():
    bits = (torch.rand(50, STEPS, FEATURES) < 0.5).float()
    pair = DeepMarkovModel.of(data.split("bits", bits, torch.distributions.constraints.boolean))
    assert isinstance(pair.likelihood.likelihood, likelihoods.Bernoulli)


def test_forecasts_are_those_of_the_model_after_the_last_step():
    """With an emission that shows the state, the next one is known but for its noise."""
    pair, x = linear_gaussian(), drawn()
    before = torch.tensor([[1.0, -2.0], [0.5, 3.0]]).double()

    class Known(type(pair.posterior)):
        def forward(self, *conditions):
            states = torch.zeros(2, STEPS, LATENT).double()
            states[0, 2], states[1, 5] = before  # the last steps of lengths 3 and 6
            return torch.distributions.Independent(torch.distributions.Normal(states, 1e-9), 2)

    pair.posterior.__class__ = Known
    ahead = pair.forecast(x[:2], 1, length=torch.tensor([3, 6]), draws=4000)
    expected = before @ TURN.T.double() @ emission().T
    spread = (INNER**2 * emission() @ emission().T).diagonal().add(OUTER**2).sqrt()
    errors = (ahead[:, :, 0].mean(0) - expected) / (spread / 4000**0.5)
    assert errors.abs().max() < FALSE_ALARM_ERRORS
    torch.testing.assert_close(ahead.std(0)[:, 0], spread.expand(2, -1), rtol=0.05, atol=0)
