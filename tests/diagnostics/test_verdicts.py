"""Verdicts know their own error: no alarm of an exact pair, and none missed of a known fault."""

import itertools
import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from ppvae.diagnostics import Effort, Verdict, diagnose
from tests import exact_pairs
from tests.correlated_gaussian import CorrelatedGaussian
from tests.diagnostics.inference_gaps.test_amortization import planar
from tests.diagnostics.marginal_likelihood.test_pooled_tails import Pareto
from tests.linear_gaussian import LinearGaussian
from tests.marks import slow_but
from tests.strangers import Ignored

SHARPEST = {
    "10 latents, sharp",
    "masked",
    "two observed sites",
    "Gamma-Poisson, small rates",
    "Beta-binomial",
    "Dirichlet-multinomial",
}
EVERYTHING = Effort(datapoints=100, draws=100, samples=60, simulations=100)
LONGER = Effort(datapoints=500, draws=1000, samples=500, simulations=1000)


def verdicts(found):
    return {finding.name: finding.verdict for finding in found.findings}


def alarms(name, effort, rows, seed):
    """The names of findings that are "bad" for an exact pair."""
    pair = exact_pairs.PAIRS[name]()
    found = diagnose(pair, pair.simulate(rows, 1000 + seed), effort=effort, seed=seed)
    return [finding.name for finding in found.findings if finding.verdict is Verdict.BAD]


@pytest.mark.parametrize("name", slow_but(SHARPEST, [*exact_pairs.PAIRS]))
def test_exact_pairs_are_not_bad(name):
    assert alarms(name, Effort(datapoints=100, draws=100), 100, seed=0) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", exact_pairs.PAIRS)
def test_exact_pairs_are_not_bad_by_any_check(name):
    assert alarms(name, EVERYTHING, 100, seed=0) == []


@pytest.mark.verify
@pytest.mark.parametrize("name", exact_pairs.PAIRS)
def test_exact_pairs_are_never_bad(name):
    assert [alarms(name, LONGER, 500, seed) for seed in range(40)] == [[]] * 40


def one_latent(shift=0.0, scale=1.0):
    """A pair with one latent, its guide off by standard deviations or by a factor."""

    class Off(exact_pairs.LinearGaussian):
        def guide(self, x):
            with pyro.plate("data", len(x)):
                deviation = self.scale_tril[0]
                loc = x @ self.slope.T + shift * deviation
                pyro.sample("z", dist.Normal(loc, scale * deviation).to_event(1))

    return Off(1, 5)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({}, Verdict.FINE),
        ({"shift": 0.1}, Verdict.FINE),  # 0.005 nats
        ({"shift": 0.5}, Verdict.LOOK),  # 0.125
        ({"scale": 0.6}, Verdict.LOOK),  # 0.19
        ({"scale": 2.0}, Verdict.LOOK),  # 0.81
        ({"shift": 2.0}, Verdict.BAD),  # 2
    ],
)
def test_what_the_guide_misses_is_graded_by_the_number_of_latents(fault, expected):
    pair = one_latent(**fault)
    found = diagnose(pair, pair.simulate(200, 0), effort=Effort(200, 500))
    assert verdicts(found)["guide, KL[Q||P(z|X)]"] is expected


@pytest.mark.parametrize(
    ("k", "draws"), slow_but({(0.55, 100)}, [*itertools.product((0.5, 0.55), (100, 500, 1000))])
)
def test_tails_near_the_threshold_are_not_bad_by_chance(k, draws):
    for seed in range(3):
        found = diagnose(Pareto(k), torch.zeros(100), effort=Effort(100, draws), seed=seed)
        weights = verdicts(found)["importance weights"]
        assert weights in (Verdict.FINE, Verdict.LOOK)
        assert weights is Verdict.FINE or draws == 100


def test_heavy_tails_are_bad_with_enough_draws_and_datapoints():
    def weights(rows, draws):
        found = diagnose(Pareto(0.9), torch.zeros(rows), effort=Effort(rows, draws))
        return verdicts(found)["importance weights"]

    assert weights(100, 500) is Verdict.BAD
    assert weights(100, 100) is Verdict.LOOK
    assert weights(1, 500) is Verdict.LOOK


def test_the_guide_is_not_fine_where_its_weights_are_bad():
    """The two findings say the same: what the draws show is the least that the guide misses."""
    pair = one_latent(scale=0.3)  # k = 0.91
    found = diagnose(pair, pair.simulate(200, 0), effort=Effort(200, 500))
    guide, weights = found.findings[:2]
    assert weights.verdict is Verdict.BAD
    assert "log P(X) may be too low by about" in weights.advice
    assert guide.verdict in (Verdict.LOOK, Verdict.BAD)
    assert "misses at least" in guide.answer


@pytest.mark.slow
def test_the_search_says_where_it_finds_more():
    pair = CorrelatedGaussian(diagonal=True)
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(100, pair.latents, generator=generator)
    x = z @ pair.loadings.T + torch.randn(100, pair.latents, generator=generator)
    found = diagnose(pair, x, effort=Effort(100, 200, searched=20))
    gaps = next(finding for finding in found.findings if finding.name == "gaps")
    assert "by the search, log P(X) of these 20 datapoints is" in gaps.answer
    assert "above that by the guide's draws" in gaps.answer


@pytest.mark.slow
def test_what_is_known_of_the_gaps_of_a_flow_without_an_inverse():
    case = LinearGaussian.random(1)
    found = diagnose(planar(case), case.draw(10, seed=1), effort=Effort(10, 30, searched=3))
    gaps = next(finding for finding in found.findings if finding.name == "gaps")
    assert gaps.verdict is Verdict.BAD
    assert "nats the best normal with all correlations would lose 0.00 +- 0.00" in gaps.answer
    assert "How much the family and the encoder lose is not known: the guide" in gaps.answer
    assert "a transform has no inverse" in gaps.answer
    assert "The best normal loses less" in gaps.advice


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_few_datapoints_have_a_reason_instead_of_a_verdict(rows):
    pair = exact_pairs.LinearGaussian(2, 5)
    effort = Effort(rows, 100, samples=rows, simulations=30)
    found = diagnose(pair, pair.simulate(rows, 0), effort=effort)
    assert "nan" not in str(found)
    unknown = {f.name: f.advice for f in found.findings if f.verdict is Verdict.UNKNOWN}
    assert Verdict.BAD not in verdicts(found).values()
    assert unknown["samples"].endswith(f"at least 20 datapoints, got {rows}")
    assert ("guide, KL[Q||P(z|X)]" in unknown) is (rows == 1)


@pytest.mark.slow
def test_the_search_of_one_datapoint_has_no_verdict():
    pair = exact_pairs.LinearGaussian(2, 5)
    found = diagnose(pair, pair.simulate(5, 0), effort=Effort(5, 100, searched=1))
    gaps = next(finding for finding in found.findings if finding.name == "gaps")
    assert gaps.verdict is Verdict.UNKNOWN
    assert "nan" not in str(gaps)


def test_a_likelihood_that_is_clearly_wrong_is_bad():
    pair = exact_pairs.LinearGaussian(2, 5)
    found = diagnose(pair, 2 * pair.simulate(300, 0), effort=Effort(300, 100))
    assert verdicts(found)["likelihood (PIT)"] is Verdict.BAD


class TwoModes:
    """The guide of a latent known up to its sign: two modes, with the same mean everywhere."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z.abs(), 0.1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            locs = torch.stack([x, -x], -1) / 1.01
            half = dist.Categorical(x.new_ones(*x.shape, 2))
            pyro.sample("z", dist.MixtureSameFamily(half, dist.Normal(locs, math.sqrt(1 / 101))))


def test_a_latent_whose_mean_does_not_vary_can_be_in_use():
    x = torch.randn(200, generator=torch.Generator().manual_seed(0)).abs()
    found = diagnose(TwoModes(), x, effort=Effort(200, 100))
    assert verdicts(found)["latents in use"] is Verdict.FINE


def test_a_latent_without_information_is_not_in_use():
    found = diagnose(Ignored(), torch.randn(200), effort=Effort(200, 100))
    assert verdicts(found)["latents in use"] is Verdict.BAD


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({}, Verdict.UNKNOWN),
        ({"scale": 0.5}, Verdict.BAD),
        ({"shift": 2.0}, Verdict.BAD),
    ],
)
def test_aggregate_and_prior_of_many_latents(fault, expected):
    pair = exact_pairs.LinearGaussian(10, 30, **fault)
    found = diagnose(pair, pair.simulate(300, 0), effort=Effort(300, 30))
    finding = next(f for f in found.findings if f.name == "aggregate and prior")
    assert finding.verdict is expected
    if expected is Verdict.UNKNOWN:
        assert "300 datapoints are too few to tell" in finding.advice
