"""Are real observations distributed as the likelihood says? Probability integral transform."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from ppvae.diagnostics.calibration import RankCounter
from ppvae.diagnostics.export import result_group
from ppvae.diagnostics.failed_rows import by_row, warn_of_rows
from ppvae.diagnostics.names import Names, names_of
from ppvae.diagnostics.rank_tests import holm, map_columns, site_dataset, uniform_p_values
from ppvae.engine import (
    MEMORY,
    Batch,
    Data,
    Pair,
    Sites,
    Structure,
    Unsupported,
    adapted,
    by_datapoint,
    depends_on_place,
    draw_resampled,
    isolated,
    model_vectorizable,
    progress_bar,
    row_chunks,
    run_pair,
    simulated_sites,
    structure_of,
    unmasked,
    vectorizable,
)

_ROUNDING = 4  # units in the last place by which equal observations may differ
_BINS = 10  # of the ranks
_LOST = -2  # the rank of an observation among replicates that are NaN
_SIZE = "effective_sample_size of the proposals"  # no name of a site


@dataclass(frozen=True)
class PIT:
    """What `pit` measures, on real data.

    Args:
        ranks: of each observed number among its replicates, 0 to draws, for each feature of each
            observed site, -1 where it is masked; dims `(data, ...)`.
        p_value: of the test that they are uniform over the data, for each feature.
        p_value_adjusted: p-values after Holm's correction for the number of features: reject where
            one is below alpha.
        effective_sample_size: of the weights of the proposals of each datapoint, dims `(data,)`.
    """

    ranks: xr.Dataset
    p_value: xr.Dataset
    p_value_adjusted: xr.Dataset
    effective_sample_size: xr.DataArray

    @property
    def values(self) -> xr.Dataset:
        """The transform, (rank + 1/2) / (draws + 1), between 0 and 1; NaN where masked."""
        ranks: xr.Dataset = self.ranks.where(self.ranks >= 0)
        values: xr.Dataset = (ranks + 0.5) / (self.ranks.attrs["draws"] + 1)
        return values

    @property
    def deviation(self) -> xr.Dataset:
        """The largest distance of the ranks' distribution function from a uniform one, 0 to 1.

        For each feature, the statistic of Kolmogorov and Smirnov.
        """
        draws = self.ranks.attrs["draws"]
        uniform = np.arange(1, draws + 2) / (draws + 1)
        return map_columns(
            self.ranks, "data", lambda ranks: _distances(_shares(ranks, draws), uniform)
        )

    def distance(self, other: "PIT") -> xr.Dataset:
        """Return the largest distance of the ranks' distribution functions from those of others.

        Args:
            other: of the same pair and number of draws, on other data.
        """
        draws = self.ranks.attrs["draws"]
        columns = [array.values.reshape(len(array), -1) for array in other.ranks.values()]
        shares = _shares(np.concatenate(columns, axis=1), draws)
        return map_columns(
            self.ranks, "data", lambda ranks: _distances(_shares(ranks, draws), shares)
        )

    @property
    def recalibration(self) -> xr.Dataset:
        """What it would gain to recalibrate each feature by itself, in nats per datapoint.

            sum_b h_b log(10 h_b) - 9 / (2 N),    h_b the shares of the ranks in 10 equal bins

        It is KL[ranks || uniform], the mean gain in log p(x_i|z) of the density h(F(x_i|z)) at N
        datapoints, with the bias that it has by chance subtracted, and 0 at least (Gneiting,
        Balabdaoui and Raftery, "Probabilistic forecasts, calibration and sharpness", 2007).
        """
        draws = self.ranks.attrs["draws"]
        return map_columns(self.ranks, "data", lambda ranks: _gains(ranks, draws))

    def to_arviz(self) -> Any:
        """Return the group `pit`: the transform; ArviZ's `draw` is the datapoint.

        Returns:
            `arviz.InferenceData` with ArviZ 0.x, `xarray.DataTree` with ArviZ 1.x.
        """
        return result_group("pit", self.values.assign_attrs(self.ranks.attrs), "data")


def _gains(ranks: NDArray[np.int64], draws: int) -> NDArray[np.float64]:
    """Return KL[ranks || uniform] of each column by bins, less its bias, and 0 at least."""
    cuts = np.round(np.linspace(0, draws + 1, _BINS + 1)).astype(np.int64)
    numbers = np.stack(
        [((low <= ranks) & (ranks < high)).sum(0) for low, high in itertools.pairwise(cuts)]
    )
    count = np.maximum(numbers.sum(0), 1)
    shares, expected = numbers / count, np.diff(cuts)[:, None] / (draws + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(numbers > 0, shares * np.log(shares / expected), 0.0)
    gains: NDArray[np.float64] = np.maximum(terms.sum(0) - (_BINS - 1) / (2 * count), 0)
    return gains


def _shares(ranks: NDArray[np.int64], draws: int) -> NDArray[np.float64]:
    """Return the shares of ranks up to 0, ..., draws of each column, `(columns, draws + 1)`.

    They are NaN for a column without ranks.
    """
    places = ranks + 1 + (draws + 2) * np.arange(ranks.shape[1])
    numbers = np.bincount(places.reshape(-1), minlength=(draws + 2) * ranks.shape[1])
    below = numbers.reshape(ranks.shape[1], draws + 2)[:, 1:].cumsum(1)
    shares: NDArray[np.float64] = below / np.where(below[:, -1:] > 0, below[:, -1:], np.nan)
    return shares


def _distances(shares: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest distance of each column, 0 where it has no ranks."""
    distances: NDArray[np.float64] = np.nan_to_num(abs(shares - expected)).max(1)
    return distances


def pit(
    pair: Pair,
    data: Data,
    *,
    draws: int = 99,
    proposals: int = 100,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> PIT:
    """Rank each feature of each real datapoint among replicates from the likelihood.

        z_i ~ p(z|x_i),  x_ik ~ p(x|z_i),    rank_ij = #{k : x_ikj < x_ij}

    This estimates the probability integral transform F(x_ij | z_i) from `draws` replicates. Equal
    values are ranked in random order, so that it is defined for discrete data too (Czado,
    Gneiting and Held, "Predictive model assessment for count data", 2009). z_i is one draw for all
    replicates: if the model is right, (x_i, z_i) has the distribution p(x, z), and the ranks of
    each feature are exactly uniform over the data (Johnson, "Bayesian model assessment using
    pivotal quantities", 2007). An average over many z would use x_i twice and not be uniform.

    z_i is one of `proposals` draws z ~ q(z|x_i), taken with a probability proportional to its
    weight p(x_i, z) / q(z|x_i), so that errors of the guide do not count as errors of the model
    (Rubin, "Using the SIR algorithm to simulate posterior distributions", 1988). This holds where
    the guide covers the posterior. Where `effective_sample_size` is a few draws, the ranks show
    the guide's errors too, and `sbc` tells which of the two it is.

    Uniformity is tested exactly, by `uniform_p_values`; `p_value_adjusted` is corrected for the
    number of features by `holm`. With many data small deviations are detected too: `deviation`
    says how large they are. A U-shaped histogram of ranks means that the likelihood is too
    narrow, a peak in the middle that it is too wide.

    A datapoint that the pair fails on, or whose replicates are NaN, has no ranks; a warning names
    it.

    Args:
        pair: any pair.
        data: `(data, *event)`, held out from the training; of a dataset, the test split.
        draws: number of replicates for each datapoint.
        proposals: number of draws of the guide for each datapoint; with 1, and for a guide
            without a density, z_i is the guide's own draw.
        seed: of latents and replicates.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar after some seconds; only on a terminal, unless given.

    Raises:
        Unsupported: if the pair's structure does not allow it, or an observed site has no
            distribution of the data (`pyro.factor`, a pseudo-likelihood).
        ValueError: if `draws`, `proposals` or `memory` is below 1, or the data are not finite.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> result = pit(pairs.assemble(digits, latent=2), digits.test[:50], draws=19)
        >>> result.ranks.x.dims, result.p_value.x.shape
        (('data', 'x_dim_0'), (64,))
    """
    for name, value in (("draws", draws), ("proposals", proposals)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if memory < 1:
        raise ValueError(f"memory must be at least 1 byte, got {memory}")
    names = names_of(data, "test")
    pair, batch = adapted(pair, data, split="test", seed=seed)

    def measured(rows: Batch) -> xr.Dataset:
        bar = progress_bar(total=len(rows[0]), unit=" datapoints", progress=progress)
        with bar, isolated(pair, seed):
            return _measured(pair, rows, draws, proposals, memory, bar, names)

    found = by_row(pair, batch, measured, names)
    size = found[_SIZE].drop_attrs()
    ranks = found.drop_vars(_SIZE).fillna(-1).astype(int)
    ranks = names.on(ranks, map(str, ranks))
    p_value = map_columns(ranks, "data", lambda columns: uniform_p_values(columns, draws))
    return PIT(ranks, p_value, holm(p_value), size)


def _measured(
    pair: Pair,
    batch: Batch,
    draws: int,
    proposals: int,
    memory: int,
    bar: Any,
    names: Names,
) -> xr.Dataset:
    """Return ranks by observed site, and the effective sample sizes of the proposals."""
    parts, sizes = [], []
    at_once: tuple[bool, ...] = ()
    for chunk, structure in _chunks(pair, batch, draws, memory):
        if not at_once:
            looks = (vectorizable, model_vectorizable)
            at_once = tuple(look(pair, chunk, structure) for look in looks)
        ranks, size = _ranks(pair, chunk, structure, draws, proposals, memory, at_once)
        parts.append(ranks)
        sizes.append(size)
        bar.update(len(chunk[0]))
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    lost = torch.stack(
        [(ranks == _LOST).reshape(len(ranks), -1).any(1) for ranks in joined.values()]
    ).any(0)
    if bool(lost.all()):
        raise Unsupported(
            "replicates of all datapoints are NaN; the pair's weights or distributions are not "
            "finite"
        )
    if bool(lost.any()):
        warn_of_rows(lost.nonzero()[:, 0].numpy(), len(lost), "its replicates are NaN", names)
    ranks_of = {name: ranks.clamp(min=-1) for name, ranks in joined.items()}
    attrs = {"tests": "likelihood on real data", "draws": draws, "proposals": proposals}
    measured = site_dataset(ranks_of, "data", structure, attrs)
    return measured.assign({_SIZE: ("data", torch.cat(sizes).cpu().numpy())})


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
        part = tuple(tensor[:rows] for tensor in batch)
        few = structure_of(pair, part)
        if rows < len(batch[0]) and depends_on_place(pair, part, few):
            rows = len(batch[0])
    except Exception:  # not on fewer rows; what is wrong on all rows is raised below
        rows = len(batch[0])
    for chunk in row_chunks(batch, rows):
        structure = structure_of(pair, chunk)
        for name, reason in structure.unnormalized.items():
            raise Unsupported(f"the data cannot be replicated: at site {name!r} {reason}")
        yield chunk, structure


def _ranks(
    pair: Pair,
    batch: Batch,
    structure: Structure,
    draws: int,
    proposals: int,
    memory: int,
    vectorized: tuple[bool, ...],
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the ranks of some of the data by observed site, `(data, *inner plates, *event)`.

    They are -1 where masked and -2 where a replicate is NaN. Also return the effective sample
    size of the proposals, `(data,)`. `vectorized` says whether draws of guide and of model may be
    run at once.
    """
    _, model = run_pair(pair, batch)
    kept = {
        name: by_datapoint(unmasked(model[name]), model[name], None)
        for name in structure.observations
    }
    counters, lost = {}, {}
    for name, observed in structure.observations.items():
        truth = torch.where(kept[name], observed, observed.nan_to_num())  # NaN has no rank
        tolerance = None
        if truth.is_floating_point():
            tolerance = _ROUNDING * torch.finfo(truth.dtype).eps * truth.abs()
        counters[name] = RankCounter(f"observed site {name!r}", truth, tolerance)
        lost[name] = torch.zeros_like(kept[name])
    most = max(1, int(memory / (structure.bytes_per_draw * len(batch[0]))))
    proposed, replicated = (most if at_once else None for at_once in vectorized)
    # A guide without a density has no weights.
    count = 1 if structure.degenerate else proposals
    latents, size = draw_resampled(pair, batch, structure, count, proposed)
    for replicates in _replicates(pair, batch, structure, latents, draws, replicated):
        for name, counter in counters.items():
            values = replicates[name]
            lost[name] |= values.isnan().any(0)
            counter.add(values.nan_to_num())
    ranks = {
        name: torch.where(kept[name], counter.ranks(), -1) for name, counter in counters.items()
    }
    return {name: torch.where(lost[name], _LOST, value) for name, value in ranks.items()}, size


def _replicates(
    pair: Pair,
    batch: Batch,
    structure: Structure,
    latents: Sites,
    draws: int,
    at_once: int | None,
) -> Iterator[dict[str, Tensor]]:
    """Draw x ~ p(x|z) at one z for each datapoint, in chunks of `(draw, data, ...)`."""
    for start in range(0, draws, at_once or 1):
        count = min(at_once, draws - start) if at_once else None
        dim = structure.draw_dim if at_once else None
        sites = simulated_sites(pair, batch, structure, count, latents)
        arranged = {
            name: by_datapoint(sites[name]["value"], sites[name], dim)
            for name in structure.observations
        }
        yield {name: value if at_once else value.unsqueeze(0) for name, value in arranged.items()}
