"""Do credible regions of the guide hold the truth as often as they say?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ppvae.diagnostics.calibration.ranks import SimulatedRanks, simulated_ranks
from ppvae.diagnostics.calibration.simulation_based import SIMULATED, joined
from ppvae.diagnostics.rank_tests import binomial_p_values, dataset, holm
from ppvae.engine import MEMORY, Data, Pair, as_batch


@dataclass(frozen=True)
class Coverage:
    """What `coverage` measures, on data simulated from the model, not on real data.

    Args:
        coverage: share of the simulations whose true value lies in the region of each `level`: for
            each coordinate of each latent site, and for all latents together, `joint`; dims
            `(level, ...)`.
        standard_error: binomial, of the coverage of an exact guide; dims `(level,)`.
        p_value: of the test that the coverage is the level, dims as of `coverage`.
        p_value_adjusted: the same, to be compared with the probability that any of an exact
            guide's is below.
    """

    coverage: xr.Dataset
    standard_error: xr.DataArray
    p_value: xr.Dataset
    p_value_adjusted: xr.Dataset


def coverage(
    pair: Pair,
    data: Data,
    *,
    simulations: int = 1000,
    draws: int = 199,
    levels: Sequence[float] = (0.1, 0.5, 0.8, 0.9, 0.95, 0.99),
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> Coverage:
    """Measure how often credible regions of q(z|x) hold the z that x was simulated from.

        z ~ p(z),  x ~ p(x|z),    coverage = Pr(z in R_level(x)),  the level if q(z|x) = p(z|x)

    - of each coordinate, R is the central interval between two of its draws, as many of them left
      out below as above;
    - `joint`: R is the region of the highest density q(z|x) over all latents together, which holds
      z if fewer than a share of the draws have a higher density (Hyndman, "Computing and graphing
      highest density regions", 1996). It sees correlations that the guide lacks.

    With L draws, ranks of the truth are uniform on L + 1 values, so that regions made of a whole
    number of them are exact for any L: levels are rounded to those that can be, which the
    coordinate `level` says. P-values are exact two-sided binomial ones; `p_value_adjusted` makes
    up for the number of quantities and levels, by `holm`.

    It tests the guide on data simulated from the model, not on real data.

    Args:
        pair: any pair whose sites stand inside `pyro.plate("data", ...)`.
        data: `(data, *event)`, a template, as of `sbc`; of a dataset, the test split.
        simulations: number of datapoints simulated.
        draws: number of draws for each.
        levels: probabilities of the regions.
        seed: of simulations and draws.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar after some seconds; only on a terminal, unless given.

    Raises:
        ValueError: as `sbc` does; if the guide has no density; or if a level is not between 0 and
            1, or too near to them or to another one for the number of draws.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> result = coverage(pair, digits.test[:5], simulations=100, levels=(0.5, 0.9))
        >>> result.coverage.z.dims, result.coverage.joint.dims, result.coverage.level.values
        (('level', 'z_dim_0'), ('level',), array([0.5, 0.9]))
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    _sizes(levels, draws)
    batch = as_batch(data, pair, split="test")
    drawn = simulated_ranks(
        pair, batch, simulations, draws, seed=seed, memory=memory, progress=progress
    )
    return coverage_of(drawn, levels)


def coverage_of(simulated: SimulatedRanks, levels: Sequence[float]) -> Coverage:
    """Count the simulations whose latents lie within regions.

    Raises:
        ValueError: if the guide has no density, or the draws do not allow the levels.
    """
    draws, count = simulated.draws, len(simulated.log_joint)
    sizes = _sizes(levels, draws)
    for name, reason in simulated.structure.degenerate.items():
        raise ValueError(f"regions of q(z|x) are not defined: at latent site {name!r} {reason}")
    # Both kinds of region hold the ranks at less than `size` from their midst: a central interval
    # counts from the middle rank in steps of two, a region of highest density from the top one.
    distances = {name: (2 * ranks - draws).abs() for name, ranks in simulated.latents.items()}
    distances = joined(distances, "joint", draws - simulated.log_posterior)
    attrs = SIMULATED | {"draws": draws, "simulations": count}
    from_midst = dataset(distances, "simulation", simulated.structure, attrs)
    probabilities = sizes / (draws + 1)
    size = xr.DataArray(sizes, dims="level", coords={"level": probabilities})
    hits = (from_midst < size).sum("simulation").transpose("level", ...).assign_attrs(attrs)

    def p_values(array: xr.DataArray) -> xr.DataArray:
        flat = array.values.reshape(len(sizes), -1)
        values = binomial_p_values(flat, count, probabilities)
        return array.copy(data=values.reshape(array.shape))

    p_value = hits.map(p_values, keep_attrs=True)
    error = np.sqrt(size.level * (1 - size.level) / count)
    return Coverage((hits / count).assign_attrs(attrs), error.drop_attrs(), p_value, holm(p_value))


def _sizes(levels: Sequence[float], draws: int) -> NDArray[np.int64]:
    """Return how many of the draws + 1 ranks each region takes, an equal number left on each side.

    Raises:
        ValueError: if that is none or all of them, or as many at two levels.
    """
    for level in levels:
        if not 0 < level < 1:
            raise ValueError(f"levels must lie between 0 and 1, got {level}")
    ranks = draws + 1
    sizes = ranks - 2 * np.round(ranks * (1 - np.asarray(levels, dtype=float)) / 2).astype(int)
    if not len(sizes) or sizes.min() < 1 or sizes.max() >= ranks or len(set(sizes)) < len(sizes):
        raise ValueError(
            f"{draws} draws cannot tell regions of the levels {', '.join(map(str, levels))} from "
            "each other, from nothing and from everything; give other levels or more draws"
        )
    return sizes
