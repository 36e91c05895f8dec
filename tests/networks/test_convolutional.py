"""Convolutional pairs: against closed forms, trained, and on flat data."""

import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, kl_divergence
from torch.func import jacrev

import ppvae
from ppvae import diagnostics, likelihoods, networks, posteriors, priors
from tests.linear_gaussian import LinearGaussian

SHAPE = (2, 4, 8)
FALSE_ALARM_ERRORS = 4.5  # standard errors, passed by chance once in 150,000 comparisons


def affine(function, shape):
    """Return the matrix and the offset of an affine map between flattened tensors."""
    zero = torch.zeros(shape).double()
    offset = function(zero).flatten()
    matrix = jacrev(function)(zero).reshape(len(offset), zero.numel())
    return matrix.detach(), offset.detach()


@pytest.mark.slow
def test_affine_pair_has_its_closed_forms():
    """Without an activation the decoder is affine in z, and every term of formula (2) known."""
    torch.manual_seed(0)
    decoder = networks.ConvDecoder(2, SHAPE, hidden=(8, 6), activation=nn.Identity)
    encoder = networks.ConvEncoder(SHAPE, 4, hidden=(6, 8), activation=nn.Identity)
    pair = ppvae.VAE(
        priors.StandardNormal(2),
        likelihoods.Normal(decoder, scale=0.5, event_dim=3),
        posteriors.DiagonalNormal(encoder),
    ).double()
    loadings, offset = affine(decoder, (2,))
    slope, intercept = affine(lambda x: encoder(x)[:2], SHAPE)
    case = LinearGaussian(loadings, offset, 0.5, slope, intercept, scale=torch.ones(2).double())
    rows = case.draw(50, seed=1)
    x = rows.reshape(-1, *SHAPE)
    guide = pair.encode(x)
    torch.testing.assert_close(guide.mean, case.guide(rows).mean)
    gap = kl_divergence(
        MultivariateNormal(guide.mean, torch.diag_embed(guide.variance)), case.posterior(rows)
    )
    log_evidence = case.marginal.log_prob(rows)
    evidence = diagnostics.evidence(pair, x, draws=4000)
    for term, exact in {"elbo": log_evidence - gap, "log_evidence": log_evidence}.items():
        difference = evidence[term].values - exact.detach().numpy()
        assert (abs(difference) < FALSE_ALARM_ERRORS * evidence[f"{term}_error"].values).all()


KINDS = {
    "plain": (networks.ConvEncoder, networks.ConvDecoder),
    "residual": (networks.ResidualConvEncoder, networks.ResidualConvDecoder),
}


def pairs_of(kind):
    encoder, decoder = KINDS[kind]
    images = ppvae.VAE(
        priors.StandardNormal(3),
        likelihoods.Bernoulli(decoder(3, (1, 8, 8), hidden=(16, 8)), event_dim=3),
        posteriors.DiagonalNormal(encoder((1, 8, 8), 6, hidden=(8, 16))),
    )
    flat = ppvae.VAE(
        images.prior,
        likelihoods.Bernoulli(nn.Sequential(images.likelihood.network, nn.Flatten(-3))),
        posteriors.DiagonalNormal(
            nn.Sequential(nn.Unflatten(-1, (1, 8, 8)), images.posterior.network)
        ),
    )
    return images, flat


def bars(rows):
    """Images with one bright row and one bright column: 64 different ones."""
    grid = torch.arange(8)
    down, across = torch.randint(8, (2, rows, 1))
    bright = (grid == down)[:, :, None] | (grid == across)[:, None, :]
    return bright[:, None].float()


@pytest.mark.parametrize("kind", KINDS)
def test_flat_data_are_the_same_images(kind):
    images, flat = pairs_of(kind)
    x = bars(6)
    ours, theirs = (
        diagnostics.evidence(pair, rows, draws=20)
        for pair, rows in ((images, x), (flat, x.flatten(1)))
    )
    np.testing.assert_allclose(ours.log_evidence, theirs.log_evidence, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", pytest.param("residual", marks=pytest.mark.verify)])
def test_pair_learns_images(kind):
    """Better than without latents, -64 H(15/64) = -34.8 nats; not better than -log 64 = -4.2."""
    pair, _ = pairs_of(kind)
    adam = functools.partial(torch.optim.Adam, lr=3e-3)
    ppvae.fit(pair, bars(1000), steps=250, optimizer=adam, compile=False, seed=0)
    x = bars(200)
    evidence = diagnostics.evidence(pair, x, draws=100)
    share = 15 / 64
    entropy = -64 * (share * np.log(share) + (1 - share) * np.log1p(-share))
    error = evidence.elbo.std() / np.sqrt(len(x))
    assert evidence.elbo.mean() > -entropy + FALSE_ALARM_ERRORS * error
    assert evidence.log_evidence.mean() < -np.log(64)
    drawn = pair.sample(5)
    assert drawn.shape == (5, 1, 8, 8)
    assert bool(((drawn == 0) | (drawn == 1)).all())


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64)])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_usual_images_fit_as_they_are(kind, shape):
    encoder, decoder = KINDS[kind]
    images = decoder(10, shape)(torch.randn(2, 10))
    assert images.shape == (2, *shape)
    assert encoder(shape, 20)(images).shape == (2, 20)


@pytest.mark.parametrize("kind", KINDS)
def test_all_outputs_depend_on_all_inputs(kind):
    torch.manual_seed(0)
    encoder, decoder = KINDS[kind]
    up = decoder(3, (1, 8, 8), hidden=(16, 8), activation=nn.Tanh).double()
    down = encoder((1, 8, 8), 3, hidden=(8, 16), activation=nn.Tanh).double()
    assert bool((jacrev(up)(torch.randn(3).double()) != 0).all())
    assert bool((jacrev(down)(torch.randn(1, 8, 8).double()) != 0).all())


@torch.no_grad()
def test_residual_blocks_that_add_nothing_change_nothing():
    torch.manual_seed(0)
    x = torch.randn(5, 1, 8, 8)
    plain = networks.ResidualConvEncoder((1, 8, 8), 3, hidden=(8, 16), depth=0)
    deep = networks.ResidualConvEncoder((1, 8, 8), 3, hidden=(8, 16), depth=2)
    blocks = [m for m in deep.layers if hasattr(m, "layers")]
    kept = [m for m in deep.layers if not hasattr(m, "layers")]
    assert len(blocks) == 4
    for own, other in zip(plain.layers, kept, strict=True):
        other.load_state_dict(own.state_dict())
    assert not torch.allclose(deep(x), plain(x))
    for block in blocks:
        block.layers[-1].weight.zero_()
        block.layers[-1].bias.zero_()
    assert torch.equal(deep(x), plain(x))


def test_groups_of_one_value_are_refused():
    networks.ResidualConvEncoder((1, 4, 4), 3, hidden=(8, 8), groups=4)
    with pytest.raises(ValueError, match=r"at least 2 values .* 1 pixel"):
        networks.ResidualConvEncoder((1, 4, 4), 3, hidden=(8, 8), groups=8)
