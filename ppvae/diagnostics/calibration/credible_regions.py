"""Do credible regions of the guide hold the truth as often as their levels say?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ppvae.diagnostics.calibration.ranks import SimulatedRanks, simulated_ranks
from ppvae.diagnostics.calibration.simulation_based import ON_SIMULATED_DATA, with_joint_quantity
from ppvae.diagnostics.export import result_group
from ppvae.diagnostics.rank_tests import binomial_p_values, holm, site_dataset
from ppvae.engine import MEMORY, Data, Pair, Unsupported, adapted


@dataclass(frozen=True)
class Coverage:
    """What `coverage` measures, on data simulated from the model, not on real data.

    Args:
        coverage: fraction of the simulations whose true value lies in the region of each `level`:
            for each coordinate of each latent site, and for all latents together, `joint`; dims
            `(level, ...)`.
        standard_error: binomial, of the coverage of an exact guide; dims `(level,)`.
        p_value: of the test that the coverage equals the level; dims as of `coverage`.
        p_value_adjusted: p-values after Holm's correction for the number of quantities and
            levels: reject where one is below alpha.
    """

    coverage: xr.Dataset
    standard_error: xr.DataArray
    p_value: xr.Dataset
    p_value_adjusted: xr.Dataset

    def to_arviz(self) -> Any:
        """Return the group `coverage`, with dims `(level, ...)`.

        Returns:
            `arviz.InferenceData` with ArviZ 0.x, `xarray.DataTree` with ArviZ 1.x.
        """
        return result_group("coverage", self.coverage)


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

    - for each coordinate, R is the central interval between two of its draws, with equally many
      draws below and above it;
    - `joint`: R is the region of the highest density q(z|x) over all latents together. It holds z
      if fewer than a given fraction of the draws have a higher density (Hyndman, "Computing and
      graphing highest density regions", 1996). It detects correlations that the guide lacks.

    With L draws, ranks of the truth are uniform on L + 1 values, so that regions of a whole number
    of ranks are exact for any L. Levels are rounded to those of such regions; the coordinate
    `level` holds the rounded ones. P-values are two-sided binomial ones, exact; `p_value_adjusted`
    is corrected for the number of quantities and levels by `holm`.

    It tests the guide on data simulated from the model, not on real data.

    Args:
        pair: any pair.
        data: `(data, *event)`, a template, as of `sbc`; of a dataset, the test split.
        simulations: number of datapoints simulated.
        draws: number of draws for each.
        levels: probabilities of the regions.
        seed: of simulations and draws.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar after some seconds; only on a terminal, unless given.

    Raises:
        Unsupported: as `sbc` does, or if the guide has no density, or one of its own
            draws alone.
        ValueError: as `sbc` does, or if a level is not between 0 and 1, or too close to 0, to 1 or
            to another level for the number of draws.

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
    pair, batch = adapted(pair, data, split="test", seed=seed)
    drawn = simulated_ranks(
        pair, batch, simulations, draws, seed=seed, memory=memory, progress=progress
    )
    return coverage_of(drawn, levels)


def coverage_of(simulated: SimulatedRanks, levels: Sequence[float]) -> Coverage:
    """Count the simulations whose latents lie within regions.

    Raises:
        Unsupported: if the guide has no density, or one of its own draws alone.
        ValueError: if the number of draws does not allow the levels.
    """
    draws, count = simulated.draws, len(simulated.log_joint)
    sizes = _sizes(levels, draws)
    for name, reason in simulated.structure.degenerate.items():
        raise Unsupported(f"regions of q(z|x) are not defined: at latent site {name!r} {reason}")
    for name, reason in simulated.unscored.items():
        raise Unsupported(
            f"regions of the highest density need log q(z|x) of the simulated latents, which is "
            f"not known: at latent site {name!r} {reason}"
        )
    # A region of `size` ranks holds those whose distance is below `size`. For a central interval
    # it is twice the distance from the middle rank, for a highest-density region the number of
    # draws with a higher density.
    distances = {name: (2 * ranks - draws).abs() for name, ranks in simulated.latents.items()}
    distances = with_joint_quantity(distances, "joint", draws - simulated.log_posterior)
    attrs = ON_SIMULATED_DATA | {"draws": draws, "simulations": count}
    distance = site_dataset(distances, "simulation", simulated.structure, attrs)
    probabilities = sizes / (draws + 1)
    size = xr.DataArray(sizes, dims="level", coords={"level": probabilities})
    hits = (distance < size).sum("simulation").transpose("level", ...).assign_attrs(attrs)

    def p_values(array: xr.DataArray) -> xr.DataArray:
        flat = array.values.reshape(len(sizes), -1)
        values = binomial_p_values(flat, count, probabilities)
        return array.copy(data=values.reshape(array.shape))

    p_value = hits.map(p_values, keep_attrs=True)
    error = np.sqrt(size.level * (1 - size.level) / count)
    return Coverage((hits / count).assign_attrs(attrs), error.drop_attrs(), p_value, holm(p_value))


def _sizes(levels: Sequence[float], draws: int) -> NDArray[np.int64]:
    """Return how many of the draws + 1 ranks each region holds, with equally many on each side.

    Raises:
        ValueError: if a region would hold none or all of them, or two would hold equally many.
    """
    for level in levels:
        if not 0 < level < 1:
            raise ValueError(f"levels must lie between 0 and 1, got {level}")
    ranks = draws + 1
    sizes = ranks - 2 * np.round(ranks * (1 - np.asarray(levels, dtype=float)) / 2).astype(int)
    if not len(sizes) or sizes.min() < 1 or sizes.max() >= ranks or len(set(sizes)) < len(sizes):
        raise ValueError(
            f"{draws} draws do not separate regions of the levels "
            f"{', '.join(map(str, levels)) or '()'}: each must hold another number of the "
            f"{ranks} ranks, neither none nor all; give other levels or more draws"
        )
    return sizes
