"""`weights` and `evidence` against closed forms on linear-Gaussian pairs."""

import math
import os
import subprocess
import sys

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from ppvae import diagnostics
from tests.linear_gaussian import LinearGaussian

TERMS = ("reconstruction", "kl", "elbo", "log_evidence", "posterior_kl")
SEEDS = 200
# Of 200 nominal 95 % intervals, 179 to 198 cover: outside with probability below 0.1 %.
COVERED = range(179, 199)
CHUNKED = 200_000  # bytes: some rows and draws at a time


class Subsampled(nn.Module):
    """A linear-Gaussian pair in plain Pyro whose sites carry a plate's scale and another."""

    def __init__(self, case, size):
        super().__init__()
        self.case, self.size = case, size
        self.register_buffer("dtype", torch.zeros((), dtype=torch.float64))

    def plate(self, x):
        return pyro.plate("data", self.size, subsample_size=len(x), dim=-1)

    def model(self, x):
        case = self.case
        with self.plate(x), pyro.poutine.scale(scale=1 / 64):
            zero = torch.zeros(case.loadings.shape[1]).double()
            z = pyro.sample("code", dist.Normal(zero, 1.0).to_event(1))
            loc = z @ case.loadings.T + case.offset
            pyro.sample("row", dist.Normal(loc, case.noise).to_event(1), obs=x)

    def guide(self, x):
        case = self.case
        with self.plate(x):
            loc = x @ case.slope.T + case.intercept
            pyro.sample("code", dist.Normal(loc, case.scale).to_event(1))


def pairs_of(case):
    return {"VAE": case.pair(), "subsampled": Subsampled(case, size=640)}


def covered(estimate, error, exact):
    return abs(estimate - exact) <= 1.959964 * error


@pytest.mark.parametrize(
    ("draws", "memory"),
    [
        pytest.param(1, 2**27, id="1-whole"),
        pytest.param(10, 2**27, id="10-whole"),
        pytest.param(1000, 2**27, id="1000-whole"),
        pytest.param(1, 1, id="1-one by one"),
        pytest.param(10, 1, id="10-one by one"),
        pytest.param(1000, 1, id="1000-one by one", marks=pytest.mark.verify),
    ],
)
@pytest.mark.parametrize("kind", ["VAE", "subsampled"])
@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)]
)
def test_exact_guide_has_constant_weights(draws, kind, memory, dtype):
    case = LinearGaussian.random(1, orthogonal=True, perturbation=0)
    x = case.draw(7, seed=2)
    pair = case.pair(dtype) if kind == "VAE" else Subsampled(case, size=640)
    weights = diagnostics.weights(pair, x, draws=draws, memory=memory)
    assert weights.sizes == {"draw": draws, "data": 7}
    exact = case.terms(x)
    assert abs(weights.values - exact["log_evidence"].numpy()).max() < 1e-4
    evidence = diagnostics.evidence(pair, x, draws=draws, memory=memory)
    for term in TERMS:
        assert abs(evidence[term].values - exact[term].numpy()).max() < 1e-4, term
    assert abs(evidence.effective_sample_size.values - draws).max() < 1e-3 * draws


# The bias of log_evidence is var / 2K, its error sqrt(var / K / rows), var the variance of the
# weights; that of posterior_kl is the same and its error smaller, so it wants more draws.
SETTINGS = {
    10: (20, 0.01, ("reconstruction", "elbo", "log_evidence")),
    1000: (10, 0.05, ("reconstruction", "elbo", "log_evidence", "posterior_kl")),
}


def means_covered(draws, kind, memory, seeds):
    """Count for each term in how many seeds the interval of its mean covers the exact value."""
    rows, perturbation, terms = SETTINGS[draws]
    case = LinearGaussian.random(3, orthogonal=True, perturbation=perturbation)
    x = case.draw(rows, seed=5)
    exact = {term: value.mean().item() for term, value in case.terms(x).items()}
    pair = pairs_of(case)[kind]
    hits = dict.fromkeys(terms, 0)
    for seed in range(seeds):
        evidence = diagnostics.evidence(pair, x, draws=draws, seed=seed, memory=memory)
        summary = diagnostics.summarize(evidence)
        for term in terms:
            row = summary.sel(term=term)
            hits[term] += bool(covered(row["mean"], row["monte_carlo_error"], exact[term]))
        assert abs(summary["mean"].sel(term="kl") - exact["kl"]) < 1e-9
    return hits


def new_data_covered(draws, seeds):
    """Count in how many seeds the interval of the mean over new data covers its expectation."""
    case = LinearGaussian.random(6, perturbation=0.3)
    exact = case.expected()["elbo"].item()
    pair = case.pair()
    hits = 0
    for seed in range(seeds):
        evidence = diagnostics.evidence(pair, case.draw(200, seed=seed), draws=draws, seed=seed)
        row = diagnostics.summarize(evidence).sel(term="elbo")
        hits += bool(covered(row["mean"], row["standard_error"], exact))
    return hits


@pytest.mark.parametrize(
    ("draws", "memory"),
    [
        pytest.param(10, 2**27, id="10-whole", marks=pytest.mark.verify),
        pytest.param(10, CHUNKED, id="10-chunked", marks=pytest.mark.slow),
        pytest.param(1000, 2**27, id="1000-whole", marks=pytest.mark.slow),
        pytest.param(1000, CHUNKED, id="1000-chunked", marks=pytest.mark.verify),
    ],
)
@pytest.mark.parametrize("kind", ["VAE", "subsampled"])
def test_mean_is_covered(draws, kind, memory):
    for term, count in means_covered(draws, kind, memory, SEEDS).items():
        assert count in COVERED, (term, count)


@pytest.mark.slow
@pytest.mark.parametrize(
    "draws",
    [pytest.param(1, marks=pytest.mark.verify), 10, pytest.param(1000, marks=pytest.mark.verify)],
)
def test_mean_over_new_data_is_covered(draws):
    assert new_data_covered(draws, SEEDS) in COVERED


def test_each_datapoint_is_covered():
    # 200 copies of a row are 200 independent measurements of it.
    case = LinearGaussian.random(7, orthogonal=True, perturbation=0.05)
    x = case.draw(1, seed=8)
    evidence = diagnostics.evidence(case.pair(), x.expand(SEEDS, -1), draws=2000)
    for term, exact in case.terms(x).items():
        if term == "kl":
            continue
        error = evidence[f"{term}_error"]
        count = int(covered(evidence[term], error, exact.item()).sum())
        assert count in COVERED, (term, count)


def test_closed_forms_of_the_tests_agree():
    # The reference itself: formula (2) balances, and the expectation over data is a mean's limit.
    case = LinearGaussian.random(9, perturbation=0.5)
    x = case.draw(200_000, seed=10)
    terms = case.terms(x)
    left = terms["log_evidence"] - terms["posterior_kl"]
    assert torch.allclose(left, terms["elbo"], atol=1e-9)
    error = terms["elbo"].std() / math.sqrt(len(x))
    assert abs(terms["elbo"].mean() - case.expected()["elbo"]) < 5 * error


def test_both_sides_balance_and_bounds_hold():
    case = LinearGaussian.random(11, perturbation=0.5)
    evidence = diagnostics.evidence(case.pair(), case.draw(50, seed=12), draws=50)
    left = evidence.log_evidence - evidence.posterior_kl
    right = evidence.reconstruction - evidence.kl
    assert np.allclose(left, right, atol=1e-12)
    assert np.allclose(right, evidence.elbo, atol=1e-12)
    assert bool((evidence.posterior_kl >= 0).all())
    assert bool((evidence.effective_sample_size >= 1).all())
    assert bool((evidence.effective_sample_size <= 50).all())


def test_one_draw_and_one_row_have_no_error():
    case = LinearGaussian.random(13)
    evidence = diagnostics.evidence(case.pair(), case.draw(1, seed=14), draws=1)
    summary = diagnostics.summarize(evidence)
    assert bool(np.isnan(evidence.elbo_error).all())
    assert bool(np.isnan(summary.standard_error).all())
    assert bool(np.isfinite(summary["mean"]).all())


def test_same_seed_same_result_whatever_the_caller_drew():
    case = LinearGaussian.random(15)
    x, pair = case.draw(5, seed=16), case.pair()
    first = diagnostics.weights(pair, x, draws=3, seed=1)
    torch.rand(17)
    assert diagnostics.weights(pair, x, draws=3, seed=1).equals(first)
    assert not diagnostics.weights(pair, x, draws=3, seed=2).equals(first)


PEAK = """
import resource, sys, torch, ppvae
from ppvae import diagnostics, likelihoods, networks, posteriors, priors

pair = ppvae.VAE(
    priors.StandardNormal(2),
    likelihoods.Bernoulli(networks.MLP(2, 20, hidden=[20])),
    posteriors.DiagonalNormal(networks.MLP(20, 4, hidden=[20])),
)
x = torch.bernoulli(torch.full((20, 20), 0.3))
diagnostics.evidence(pair, x, draws=int(sys.argv[1]), compile=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.verify
def test_memory_does_not_grow_with_the_number_of_draws():
    """The C library takes large tensors from the system, lest holes in its heap be measured."""
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
    few, many = (
        int(subprocess.check_output([sys.executable, "-c", PEAK, str(draws)], env=environment))
        for draws in (10_000, 200_000)
    )
    assert many - few < 50  # MiB; the densities of all draws take 200 and more
