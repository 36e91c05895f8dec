"""How often each diagnostic raises an alarm, for an exact guide and for four faults, in 100 runs.

Ten latents, correlated by 0.8 in pairs; 1000 simulations; alarms at 1 % over all quantities. An
exact guide of false alarms of 1 % fails its bar of 5 in 100 with probability 0.0005; a power
of 99 % fails that of 95 in 100 with probability 0.0005, too.
"""

import pytest
import torch

from ppvae import diagnostics
from tests.correlated_gaussian import CorrelatedGaussian
from tests.linear_gaussian import LinearGaussian

RUNS = 100
MOST_FALSE, FEWEST_TRUE = 5, 95
LEVEL = 0.01
FAULTS = {
    "none": {},
    "mean + 0.3 sd": {"shift": 0.3},
    "scale x 0.7": {"scale": 0.7},
    "scale x 1.5": {"scale": 1.5},
    "correlations dropped": {"diagonal": True},
}
CAUGHT = {
    "none": (),
    "mean + 0.3 sd": ("sbc", "vsbc"),
    "scale x 0.7": ("sbc", "sbc log p", "coverage", "joint"),
    "scale x 1.5": ("sbc", "sbc log p", "coverage", "joint"),
    "correlations dropped": ("sbc log p", "joint"),
}

pytestmark = pytest.mark.verify


def alarms(pair, x, seed):
    """Whether each diagnostic raises an alarm; the family of the first two and of the last two."""
    ranks = diagnostics.sbc(pair, x, seed=seed).p_value_adjusted
    center = diagnostics.vsbc(pair, x, seed=seed).p_value_adjusted
    regions = diagnostics.coverage(pair, x, seed=seed).p_value_adjusted
    smallest = {
        "sbc": ranks.z.min(),
        "sbc log p": ranks.log_joint,
        "vsbc": center.z.min(),
        "coverage": regions.z.min(),
        "joint": regions.joint.min(),
    }
    return {name: bool(p_value < LEVEL) for name, p_value in smallest.items()}


def count(pair, x):
    runs = [alarms(pair, x, seed) for seed in range(RUNS)]
    rates = {name: sum(run[name] for run in runs) for name in runs[0]}
    whole = sum(run["sbc"] or run["sbc log p"] for run in runs)
    regions = sum(run["coverage"] or run["joint"] for run in runs)
    return rates, whole, regions


@pytest.mark.parametrize("fault", FAULTS)
def test_alarms(fault):
    rates, whole, regions = count(CorrelatedGaussian(**FAULTS[fault]), torch.zeros(10, 10))
    print(f"\n{fault}: alarms in {RUNS} runs {rates}, all of sbc {whole}, of coverage {regions}")
    assert all(rates[name] >= FEWEST_TRUE for name in CAUGHT[fault])
    if not FAULTS[fault]:
        assert max(rates["vsbc"], whole, regions) <= MOST_FALSE


def test_false_alarms_of_an_exact_vae():
    case = LinearGaussian.random(0, latent=3, orthogonal=True, perturbation=0.0)
    rates, whole, regions = count(case.pair(torch.float32), case.draw(10, seed=1))
    print(f"\nexact VAE: alarms in {RUNS} runs {rates}, all of sbc {whole}, of coverage {regions}")
    assert max(rates["vsbc"], whole, regions) <= MOST_FALSE


@pytest.mark.parametrize("fault", FAULTS)
def test_what_importance_weights_say(fault):
    # Tails have the shape 1 - s^2 in the direction in which the guide is narrower by s.
    pair = CorrelatedGaussian(**FAULTS[fault])
    x = torch.randn(200, 10, generator=torch.Generator().manual_seed(2))
    x = x @ torch.linalg.cholesky(pair.loadings @ pair.loadings.T + torch.eye(10)).T
    tails = diagnostics.pareto_k(pair, x, draws=1000)
    k, above = float(tails.pareto_k.median()), float((tails.pareto_k > tails.threshold).mean())
    share = float(tails.effective_sample_size.median()) / 1000
    print(f"\n{fault}: median k {k:.2f}, above threshold {above:.0%}, sample size {share:.0%}")
    if not FAULTS[fault]:
        assert above == 0 and share > 0.999
    if fault == "scale x 0.7":
        assert k > 0.3


@pytest.mark.parametrize("factor", [1.0, 0.8, 1.25])
def test_alarms_of_pit(factor):
    exact = LinearGaussian.random(0, latent=3, orthogonal=True, perturbation=0.0)
    parts = exact.loadings, exact.offset, factor * exact.noise
    pair = LinearGaussian(*parts, exact.slope, exact.intercept, exact.scale).pair(torch.float32)
    runs = 0
    for seed in range(RUNS):
        result = diagnostics.pit(pair, exact.draw(1000, seed=seed), seed=seed)
        runs += bool(result.p_value_adjusted.x.min() < LEVEL)
    print(f"\nPIT, noise x {factor}: alarms in {runs} of {RUNS} runs")
    assert runs <= MOST_FALSE if factor == 1 else runs >= FEWEST_TRUE
