"""Are real observations distributed as the likelihood says? Probability integral transform."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from ppvae.diagnostics.calibration import RankCounter
from ppvae.diagnostics.export import result_group
from ppvae.diagnostics.progress import tqdm_options
from ppvae.diagnostics.rank_tests import holm, map_columns, site_dataset, uniform_p_values
from ppvae.engine import (
    MEMORY,
    Batch,
    Data,
    Pair,
    Sites,
    Structure,
    Unsupported,
    as_batch,
    by_datapoint,
    draw_latents,
    isolated,
    model_vectorizable,
    row_chunks,
    run_pair,
    simulated_sites,
    structure_of,
    unmasked,
)

_ROUNDING = 4  # units in the last place by which equal observations may differ


@dataclass(frozen=True)
class PIT:
    """What `pit` measures, on real data.

    Args:
        ranks: of each observed number among its replicates, 0 to draws, for each feature of each
            observed site, -1 where it is masked; dims `(data, ...)`.
        p_value: of the test that they are uniform over the data, for each feature.
        p_value_adjusted: p-values after Holm's correction for the number of features: reject where
            one is below alpha.
    """

    ranks: xr.Dataset
    p_value: xr.Dataset
    p_value_adjusted: xr.Dataset

    @property
    def values(self) -> xr.Dataset:
        """The transform, (rank + 1/2) / (draws + 1), between 0 and 1; NaN where masked."""
        ranks: xr.Dataset = self.ranks.where(self.ranks >= 0)
        values: xr.Dataset = (ranks + 0.5) / (self.ranks.attrs["draws"] + 1)
        return values

    def to_arviz(self) -> Any:
        """Return the group `pit`: the transform; ArviZ's `draw` is the datapoint.

        Returns:
            `arviz.InferenceData` with ArviZ 0.x, `xarray.DataTree` with ArviZ 1.x.
        """
        return result_group("pit", self.values.assign_attrs(self.ranks.attrs), "data")


def pit(
    pair: Pair,
    data: Data,
    *,
    draws: int = 99,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> PIT:
    """Rank each feature of each real datapoint among replicates from the likelihood.

        z_i ~ q(z|x_i),  x_ik ~ p(x|z_i),    rank_ij = #{k : x_ikj < x_ij}

    This estimates the probability integral transform F(x_ij | z_i) from `draws` replicates. Equal
    values are ranked in random order, so that it is defined for discrete data too (Czado,
    Gneiting and Held, "Predictive model assessment for count data", 2009). z_i is one draw for all
    replicates: if the model is right and the guide exact, (x_i, z_i) has the distribution p(x, z),
    and the ranks of each feature are exactly uniform over the data (Johnson, "Bayesian model
    assessment using pivotal quantities", 2007). An average over many z would use x_i twice and
    not be uniform.

    Uniformity is tested exactly, by `uniform_p_values`; `p_value_adjusted` is corrected for the
    number of features by `holm`. A U-shaped histogram of ranks means that the likelihood is too
    narrow, a peak in the middle that it is too wide. A bad guide fails the test too: `sbc` tells
    which of the two it is.

    Args:
        pair: any pair whose sites stand inside `pyro.plate("data", ...)`.
        data: `(data, *event)`, held out from the training; of a dataset, the test split.
        draws: number of replicates for each datapoint.
        seed: of latents and replicates.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar after some seconds; only on a terminal, unless given.

    Raises:
        Unsupported: if the pair's structure does not allow it, or an observed site has no
            distribution of the data (`pyro.factor`, a pseudo-likelihood).
        ValueError: if `draws` or `memory` is below 1, or the data are not finite.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> result = pit(pairs.assemble(digits, latent=2), digits.test[:50], draws=19)
        >>> result.ranks.x.dims, result.p_value.x.shape
        (('data', 'x_dim_0'), (64,))
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    if memory < 1:
        raise ValueError(f"memory must be at least 1 byte, got {memory}")
    batch = as_batch(data, pair, split="test")
    parts = []
    bar = tqdm(total=len(batch[0]), unit=" datapoints", **tqdm_options(progress))
    with bar, isolated(pair, seed):
        for chunk, structure in _chunks(pair, batch, draws, memory):
            parts.append(_ranks(pair, chunk, structure, draws, memory))
            bar.update(len(chunk[0]))
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    attrs = {"tests": "likelihood and guide on real data", "draws": draws}
    ranks = site_dataset(joined, "data", structure, attrs)
    p_value = map_columns(ranks, "data", lambda columns: uniform_p_values(columns, draws))
    return PIT(ranks, p_value, holm(p_value))


def _chunks(
    pair: Pair, batch: Batch, draws: int, memory: int
) -> Iterator[tuple[Batch, Structure]]:
    """Cut data so that all replicates of a chunk fit into memory, if the pair takes fewer rows.

    Raises:
        Unsupported: if an observed site has no distribution of the data.
    """
    first = tuple(tensor[:256] for tensor in batch)
    try:
        structure = structure_of(pair, first)
        rows = max(1, int(memory / (structure.bytes_per_draw * draws)))
        structure_of(pair, tuple(tensor[:rows] for tensor in batch))
    except Exception:  # not on fewer rows; what is wrong on all rows is raised below
        rows = len(batch[0])
    for chunk in row_chunks(batch, rows):
        structure = structure_of(pair, chunk)
        for name, reason in structure.unnormalized.items():
            raise Unsupported(f"the data cannot be replicated: at site {name!r} {reason}")
        yield chunk, structure


def _ranks(
    pair: Pair, batch: Batch, structure: Structure, draws: int, memory: int
) -> dict[str, Tensor]:
    """Return the ranks of some of the data by observed site, `(data, *inner plates, *event)`."""
    _, model = run_pair(pair, batch)
    kept = {
        name: by_datapoint(unmasked(model[name]), model[name], None)
        for name in structure.observations
    }
    counters = {}
    for name, observed in structure.observations.items():
        truth = torch.where(kept[name], observed, observed.nan_to_num())  # NaN has no rank
        tolerance = None
        if truth.is_floating_point():
            tolerance = _ROUNDING * torch.finfo(truth.dtype).eps * truth.abs()
        counters[name] = RankCounter(f"observed site {name!r}", truth, tolerance)
    latents = draw_latents(pair, batch, structure)
    for replicates in _replicates(pair, batch, structure, latents, draws, memory):
        for name, counter in counters.items():
            counter.add(replicates[name])
    return {
        name: torch.where(kept[name], counter.ranks(), -1) for name, counter in counters.items()
    }


def _replicates(
    pair: Pair, batch: Batch, structure: Structure, latents: Sites, draws: int, memory: int
) -> Iterator[dict[str, Tensor]]:
    """Draw x ~ p(x|z) at one z for each datapoint, in chunks of `(draw, data, ...)`."""
    at_once = max(1, int(memory / (structure.bytes_per_draw * len(batch[0]))))
    vectorized = model_vectorizable(pair, batch, structure)
    for start in range(0, draws, at_once if vectorized else 1):
        count = min(at_once, draws - start) if vectorized else None
        dim = structure.draw_dim if vectorized else None
        sites = simulated_sites(pair, batch, structure, count, latents)
        arranged = {
            name: by_datapoint(sites[name]["value"], sites[name], dim)
            for name in structure.observations
        }
        yield {
            name: value if vectorized else value.unsqueeze(0) for name, value in arranged.items()
        }
