"""Counts of which the size is observed."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import ppvae
from ppvae import diagnostics, likelihoods, posteriors, priors
from ppvae.engine.compilation import replay
from ppvae.inference import training
from ppvae.networks import First, Joined
from tests.contracts.graphs import trained_both_ways

FAMILIES = {
    "Poisson": (likelihoods.Poisson, 1),
    "NegativeBinomial": (likelihoods.NegativeBinomial, 2),
    "ZeroInflatedNegativeBinomial": (likelihoods.ZeroInflatedNegativeBinomial, 3),
}


@pytest.fixture(params=FAMILIES.values(), ids=FAMILIES.keys())
def family(request):
    torch.manual_seed(0)
    return request.param


def counts(family, event_dim=1):
    build, outputs = family
    network = nn.Linear(2, outputs * 3)
    if event_dim == 3:
        network = nn.Sequential(network, nn.Unflatten(-1, (outputs * 3, 1, 1)))
    return build(network, event_dim=event_dim, size=likelihoods.ObservedSize()).double()


def reference(build, output, size, x):
    """log p(x) by SciPy, of mean size * exp(log mean)."""
    parts = [part.detach().numpy() for part in output.chunk(output.shape[-1] // 3, -1)]
    mean = size.numpy() * np.exp(parts[0])
    if build is likelihoods.Poisson:
        return stats.poisson.logpmf(x, mean).sum(-1)
    r = np.log1p(np.exp(parts[1]))
    log_mass = stats.nbinom.logpmf(x, r, r / (r + mean))
    if build is likelihoods.ZeroInflatedNegativeBinomial:
        gate = 1 / (1 + np.exp(-parts[2]))
        log_mass = np.log(gate * (x.numpy() == 0) + (1 - gate) * np.exp(log_mass))
    return log_mass.sum(-1)


@pytest.mark.parametrize("leading", [(), (5,), (4, 5), (2, 1, 5)])
def test_means_are_multiplied(family, leading):
    likelihood = counts(family)
    z, size = torch.randn(*leading, 2).double(), torch.rand(*leading[-1:], 1).double() + 0.1
    x = torch.tensor([0.0, 2.0, 7.0]).double()
    distribution = likelihood(z, 100 * size)
    assert (distribution.batch_shape, distribution.event_shape) == (leading, (3,))
    expected = reference(family[0], likelihood.network(z), 100 * size, x)
    np.testing.assert_allclose(distribution.log_prob(x).detach(), expected, rtol=1e-9)


def test_a_size_of_one_is_no_size(family):
    likelihood, z, x = counts(family), torch.randn(9, 2).double(), torch.ones(3).double()
    plain = family[0](likelihood.network)
    one = likelihood(z, torch.ones(9, 1).double())
    assert torch.equal(plain(z).log_prob(x), one.log_prob(x))


def test_events_of_several_dimensions(family):
    likelihood = counts(family, event_dim=3)
    z, size = torch.randn(5, 2).double(), torch.rand(5, 1).double() + 0.5
    distribution = likelihood(z, size)
    assert (distribution.batch_shape, distribution.event_shape) == ((5,), (3, 1, 1))
    flat = family[0](likelihood.network[0], size=likelihoods.ObservedSize())(z, size)
    x = torch.ones(3).double()
    assert torch.equal(distribution.log_prob(x[:, None, None]), flat.log_prob(x))


def pair_of(family):
    return ppvae.VAE(
        priors.StandardNormal(2),
        counts(family),
        posteriors.DiagonalNormal(First(nn.Linear(3, 4))),
    ).float()


def sized(rows, least=0.5):
    return torch.poisson(torch.ones(rows, 3)), torch.rand(rows, 1) + least


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(
            family, id=name, marks=[] if name == "NegativeBinomial" else [pytest.mark.slow]
        )
        for name, family in FAMILIES.items()
    ],
)
def test_graph_of_a_training_is_the_training(family, monkeypatch):
    trained_both_ways(lambda: pair_of(family), sized(40), monkeypatch)


def test_save_and_load(family, tmp_path):
    pair, (x, size) = pair_of(family), sized(4)
    ppvae.save(pair, tmp_path)
    z = torch.randn(4, 2)
    loaded = ppvae.load(tmp_path, trust=["tests"])
    assert torch.equal(pair.decode(z, size).log_prob(x), loaded.decode(z, size).log_prob(x))


def test_further_conditions_reach_the_network():
    build, z, y = likelihoods.Poisson, torch.randn(5, 2), torch.randn(5, 4)
    likelihood = build(Joined(nn.Linear(6, 3)), size=likelihoods.ObservedSize())
    expected = 7 * likelihood.network(z, y).exp()
    torch.testing.assert_close(likelihood(z, y, torch.full((5, 1), 7.0)).mean, expected)


@pytest.mark.slow
def test_evidence_by_integration():
    pair, (x, size) = pair_of(FAMILIES["Poisson"]).double(), sized(8)
    x, size = x.double(), 4 * size.double()
    axis = torch.linspace(-8, 8, 801).double()
    z = torch.cartesian_prod(axis, axis)[:, None]
    with torch.no_grad():
        log_joint = pair.prior().log_prob(z) + pair.decode(z, size).log_prob(x)
        # So wide that no importance weight has a heavy tail.
        pair.posterior.network.network.weight.data[2:] = 0.0
        pair.posterior.network.network.bias.data[2:] = 1.5
    expected = (log_joint.logsumexp(0) + 2 * np.log(16 / 800)).numpy()
    terms = diagnostics.evidence(pair, (x, size), draws=4000)
    deviation = (terms.log_evidence - expected) / terms.log_evidence_error
    # Of 8 datapoints one lies outside by chance once in 18 000 times.
    assert float(abs(deviation).max()) < 4.5


@pytest.mark.parametrize("compile_from", [None, 1])
def test_sizes_must_be_positive_wherever_they_stand(compile_from, monkeypatch):
    monkeypatch.setattr(training, "generate", replay)
    x, size = sized(300)
    size[290] = 0.0  # behind the rows that are looked at before training
    with pytest.raises(ValueError, match="positive and finite, got 0 to "):
        pair = pair_of(FAMILIES["Poisson"])
        ppvae.fit(pair, (x, size), steps=9, batch_size=100, compile_from=compile_from)


def test_sizes_must_be_there():
    likelihood, z = counts(FAMILIES["Poisson"]), torch.zeros(4, 2).double()
    for conditions, got in (((), "none"), ((torch.ones(4),), r"\(4,\)")):
        with pytest.raises(ValueError, match=rf"of shape \(\*, 1\), got shape {got}; pass"):
            likelihood(z, *conditions)
    for wrong in (-1.0, 0.0, torch.inf, torch.nan):
        with pytest.raises(ValueError, match="sizes that are positive and finite, got"):
            likelihood(z, torch.full((4, 1), wrong).double())
