"""R-hat, effective sample size and Monte Carlo error against ArviZ and known chains."""

import math
import warnings
from importlib.metadata import version

import numpy as np
import pytest
import torch

from ppvae.engine.iterates import effective_sample_size, monte_carlo_error, split_rhat
from tests.marks import each_once


def peers(chains):
    """ArviZ's three numbers of `(chain, draw)`, at least two chains."""
    if int(version("arviz").split(".")[0]) < 1:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            import arviz
        return (
            float(arviz.rhat(chains, method="split")),
            float(arviz.ess(chains, method="mean")),
            float(arviz.mcse(chains, method="mean")),
        )
    from arviz_stats.base import array_stats

    return tuple(
        float(function(chains, method=method))
        for function, method in (
            (array_stats.rhat, "split"),
            (array_stats.ess, "mean"),
            (array_stats.mcse, "mean"),
        )
    )


def autoregressive(phi, draws, columns, seed, chains=1):
    """x_t = phi x_(t-1) + sqrt(1 - phi^2) e_t, stationary from the start, of variance 1."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(draws, chains, columns, generator=generator, dtype=torch.float64)
    values = [noise[0]]
    for step in noise[1:]:
        values.append(phi * values[-1] + math.sqrt(1 - phi**2) * step)
    return torch.stack(values, 1)


@pytest.mark.parametrize(
    ("chains", "phi", "draws"),
    each_once(
        *(
            {value: value for value in values}
            for values in (
                (2, 4),
                (-0.9, -0.3, 0.0, 0.5, 0.9, 0.999),
                (4, 5, 7, 8, 9, 10, 11, 50, 101, 1000),
            )
        )
    ),
)
def test_all_is_as_arviz_has_it(chains, phi, draws):
    iterates = autoregressive(phi, draws, 5, seed=draws, chains=chains)
    measured = [split_rhat(iterates), effective_sample_size(iterates), monte_carlo_error(iterates)]
    for column in range(5):
        for ours, theirs in zip(measured, peers(iterates[..., column].numpy()), strict=True):
            assert float(ours[column]) == pytest.approx(theirs, rel=1e-10)


def test_one_chain_is_two_halves():
    iterates = autoregressive(0.5, 100, 3, seed=1)
    quarters = torch.cat([iterates[:, :50], iterates[:, 50:]])
    means = quarters.mean(1).var(0) * 50
    expected = ((means / quarters.var(1).mean(0) + 49) / 50).sqrt()
    assert torch.allclose(split_rhat(iterates), expected, rtol=1e-12)


# Over 400 chains the mean of N / ESS has a standard error below 2 % of it at these lengths; the
# bias of the cut-off sum is of the order of 1/N. Five errors make 0.1 (false alarm below 1e-6).
@pytest.mark.parametrize("phi", [-0.5, 0.0, 0.5, 0.9])
def test_known_autocorrelation_is_found(phi):
    draws = 4000
    size = effective_sample_size(autoregressive(phi, draws, 400, seed=3))
    exact = (1 + phi) / (1 - phi)
    assert float((draws / size).mean()) == pytest.approx(exact, rel=0.1)


# The 95 % interval of the mean: of 1000 chains 927 to 971 cover 0 with probability 0.999.
@pytest.mark.parametrize("phi", [0.0, 0.8])
def test_the_error_of_the_mean_covers(phi):
    iterates = autoregressive(phi, 2000, 1000, seed=4)
    hits = (iterates.mean((0, 1)).abs() < 1.96 * monte_carlo_error(iterates)).sum()
    assert 927 <= int(hits) <= 971


def test_what_drifts_is_seen():
    noise = autoregressive(0.0, 200, 3, seed=5)
    drift = torch.linspace(0, 1, 200).double()[:, None] * torch.tensor([0.0, 3.0, 30.0])
    rhat = split_rhat(noise + drift)
    assert float(rhat[0]) < 1.05
    # The halves of a drift D differ by D / 2: B / n = D^2 / 8, W = 1 + D^2 / 48 for unit noise.
    for column, drift in ((1, 3.0), (2, 30.0)):
        exact = math.sqrt(0.99 + drift**2 / 8 / (1 + drift**2 / 48))
        assert float(rhat[column]) == pytest.approx(exact, rel=0.1)


def test_what_does_not_move_is_known():
    still = torch.full((1, 20, 2), 0.3)
    assert torch.isnan(split_rhat(still)).all()
    assert effective_sample_size(still).tolist() == [20, 20]
    assert float(monte_carlo_error(still).max()) < 1e-8


def test_parameters_keep_their_shape_and_do_not_depend_on_each_other():
    iterates = autoregressive(0.3, 30, 40000, seed=6).reshape(1, 30, 200, 200)
    sizes = effective_sample_size(iterates)
    assert sizes.shape == (200, 200)
    assert torch.allclose(sizes[7, 3], effective_sample_size(iterates[:, :, 7, 3]))
    assert np.isfinite(monte_carlo_error(iterates).numpy()).all()


@pytest.mark.parametrize("function", [split_rhat, effective_sample_size, monte_carlo_error])
@pytest.mark.parametrize("shape", [(1, 3), (10,), (0, 10, 2)])
def test_too_few_draws_are_refused(function, shape):
    with pytest.raises(ValueError, match="with at least 4 draws; got"):
        function(torch.zeros(shape))
