"""Priors fitted to the aggregate posterior of a trained pair."""

import functools

import pytest
import torch
from torch import nn

import ppvae
from ppvae import diagnostics, likelihoods, posteriors, priors
from tests import conditional
from tests.linear_gaussian import LinearGaussian

TRAINING = {
    "steps": 1000,
    "batch_size": 500,
    "optimizer": functools.partial(torch.optim.Adam, lr=0.1),
    "schedule": lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.993),
    "compile": False,
}


def state_of(pair):
    tensors = {name: tensor.clone() for name, tensor in pair.state_dict().items()}
    return (
        tensors,
        [p.requires_grad for p in pair.parameters()],
        [m.training for m in pair.modules()],
    )


def same(one, other):
    tensors, flags, modes = one
    assert tensors.keys() == other[0].keys() and (flags, modes) == other[1:]
    return all(torch.equal(tensors[name], other[0][name]) for name in tensors)


@pytest.mark.slow
def test_one_normal_gets_the_moments_of_the_aggregate_posterior():
    case = LinearGaussian.random(0)
    pair, x = case.pair(), case.draw(500, seed=1)
    before = state_of(pair)
    refitted = ppvae.refit_prior(pair, x, priors.NormalMixture(2, components=1), **TRAINING)
    with torch.no_grad():
        q, p = pair.encode(x), refitted.prior().component_distribution
        given = torch.distributions.kl_divergence(q, pair.prior()).mean()
    mean = q.mean.mean(0)
    variance = q.variance.mean(0) + q.mean.var(0, correction=0)
    # Over eight trainings these deviations have a standard deviation of at most 0.001.
    assert ((p.mean[0] - mean) / variance.sqrt()).abs().max().item() < 0.01
    assert (p.variance[0] / variance).sqrt().sub(1).abs().max().item() < 0.01
    # KL[Q(z|X) || P(z)] of the moment-matched normal is least.
    least = (0.5 * (variance.log().sum() - q.variance.log().sum(-1))).mean()
    measured = diagnostics.evidence(refitted, x, draws=200)
    assert measured.kl.mean().item() == pytest.approx(least.item(), abs=0.01)
    assert least < given - 0.01
    assert same(before, state_of(pair))
    assert p.mean.dtype == torch.float64


@pytest.mark.slow
def test_two_clusters_raise_the_evidence_of_unseen_data():
    case = LinearGaussian.random(1, features=4, latent=1, orthogonal=True, noise=0.5)
    pair, generator = case.pair(), torch.Generator().manual_seed(2)
    like = {"generator": generator, "dtype": torch.float64}
    z = 3.0 * (torch.randint(2, (800, 1), generator=generator) * 2 - 1)
    z = z + 0.3 * torch.randn(800, 1, **like)
    x = z @ case.loadings.T + case.offset + case.noise * torch.randn(800, 4, **like)
    torch.manual_seed(3)
    refitted = ppvae.refit_prior(pair, x[:500], priors.NormalMixture(1, components=2), **TRAINING)
    one, two = (diagnostics.evidence(each, x[500:], draws=500) for each in (pair, refitted))
    gain = two.log_evidence - one.log_evidence
    assert gain.mean() > 1 + 4.5 * gain.std() / len(gain) ** 0.5
    assert sorted(refitted.prior.loc.flatten().tolist()) == pytest.approx([-3, 3], abs=0.5)
    normal, mixture = (each.prior().sample((1000,)) for each in (pair, refitted))
    assert (normal.abs() < 1.5).double().mean() > 0.8  # 87 % of a standard normal
    assert (mixture.abs() < 1.5).double().mean() < 0.05


def images():
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 4))
    posterior = posteriors.DiagonalNormal(encoder)
    decoder = nn.Linear(2, 6).requires_grad_(False)
    pair = ppvae.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(decoder), posterior)
    return pair, (torch.rand(40, 6) < 0.5).float()


def test_only_the_prior_changes_and_only_in_the_copy():
    pair, x = images()
    posterior = pair.posterior
    prior = priors.VampPrior(posterior, priors.PseudoInputs.from_data(x[:4], bounds=(0.0, 1.0)))
    before, raw = state_of(pair), prior.pseudo_inputs.raw.clone()
    refitted = ppvae.refit_prior(pair, x, prior, steps=5)
    assert same(before, state_of(pair)) and torch.equal(prior.pseudo_inputs.raw, raw)
    assert prior.posterior is posterior
    assert same(state_of(posterior), state_of(refitted.posterior))
    assert same(state_of(pair.likelihood), state_of(refitted.likelihood))
    assert refitted.prior.posterior is refitted.posterior is not posterior
    assert not torch.equal(refitted.prior.pseudo_inputs.raw, raw)
    ppvae.fit(refitted, x, steps=2)
    assert same(before, state_of(pair))


def test_refitted_pair_is_saved(tmp_path):
    pair, x = images()
    refitted = ppvae.refit_prior(pair, x, priors.NormalMixture(2, components=3), steps=5)
    ppvae.save(refitted, tmp_path)
    z = torch.randn(4, 2)
    assert torch.equal(ppvae.load(tmp_path).prior().log_prob(z), refitted.prior().log_prob(z))


@pytest.mark.slow
def test_prior_given_conditions():
    case = conditional.LinearGaussian.random(0)
    y = torch.randn(400, 3).double()
    x = case.marginal(y).sample()
    refitted = ppvae.refit_prior(
        case.pair(),
        (x, y),
        priors.ConditionalNormal(nn.Linear(3, 4)),
        **TRAINING | {"batch_size": 400},
    )
    # The posterior is exact: its draws z have the law p(z | y), of which this is a regression on
    # 400 rows. One of six slopes is off by so many standard errors once in 24 000 times.
    slopes = refitted.prior.network.weight.detach()[:2]
    errors = case.spread[:, None] / 400**0.5
    assert bool(((slopes - case.of_condition).abs() < 4.5 * errors).all())


def test_what_it_needs():
    pair, x = images()
    with pytest.raises(ppvae.Unsupported, match="parameters of its own, StandardNormal has none"):
        ppvae.refit_prior(pair, x, priors.StandardNormal(2))
    with pytest.raises(TypeError, match="pair to be a ppvae.VAE, got Linear"):
        ppvae.refit_prior(nn.Linear(2, 2), x, priors.NormalMixture(2))
    with pytest.raises(TypeError, match="prior to be a .*Prior, got Linear"):
        ppvae.refit_prior(pair, x, nn.Linear(2, 2))
    with pytest.raises(TypeError, match="step_count"):
        ppvae.refit_prior(pair, x, priors.NormalMixture(2), step_count=3)
