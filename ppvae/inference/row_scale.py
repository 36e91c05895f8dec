"""Weighs the rows of a minibatch against latents that all rows of the data share."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from ppvae.engine import PLATE, Batch, Pair, Site, Sites, Unsupported, isolated, names_of, run_pair

_CLOSE = 1e-4  # relative difference up to which two scales are equal


class RowScale:
    """Multiplies the terms of a minibatch's rows by the number of all rows over that of its own.

    A latent outside the plate over rows, such as a mean of all data, has one prior and one
    posterior. The ELBO of a minibatch is unbiased if the terms of its rows stand for all rows
    (Hoffman, Blei, Wang and Paisley, "Stochastic Variational Inference", 2013), as those in a
    `pyro.plate("data", total, subsample_size=rows)` do.

    Args:
        total: number of all rows.
        plates: names of the plates over rows.
        sites: names of the sites over rows that stand in no such plate.
        shared: names of the latents that all rows share.
    """

    def __init__(
        self,
        total: int,
        plates: frozenset[str],
        sites: frozenset[str],
        shared: Sequence[str] = (),
    ) -> None:
        self.total = total
        self.shared = shared
        self.plates = plates
        self.sites = sites

    @property
    def sentence(self) -> str:
        """Say what is done, for whoever trains."""
        return (
            f"the rows of a minibatch stand for all {self.total}, since all rows share latent "
            f"sites {names_of(self.shared)}"
        )

    def factor(self, rows: int) -> float:
        """Return the factor of a minibatch of `rows` rows."""
        return self.total / rows

    def scaled(self, program: Callable[..., Any]) -> Callable[..., Any]:
        """Return `program` with the sites of its rows multiplied."""

        def run(*batch: Tensor) -> Any:
            with _Scale(self, len(batch[0])):
                return program(*batch)

        return run

    def apply(self, sites: Sites, rows: int) -> None:
        """Multiply the sites of a run on `rows` rows."""
        for site in sites.values():
            if self.concerns(site):
                site["scale"] = site["scale"] * self.factor(rows)

    def concerns(self, site: Site) -> bool:
        """Tell whether a site belongs to the rows."""
        return site["name"] in self.sites or not self.plates.isdisjoint(_sizes(site))

    def rows_of(self, site: Site, rows: int) -> int:
        """Return how many rows a site has, of a run on `rows` rows."""
        sizes = [size for name, (size, _) in _sizes(site).items() if name in self.plates]
        return math.prod(sizes) if sizes else rows


class _Scale(Messenger):  # type: ignore[misc]
    def __init__(self, row_scale: RowScale, rows: int) -> None:
        super().__init__()
        self.row_scale = row_scale
        self.factor = row_scale.factor(rows)

    def _pyro_sample(self, message: Any) -> None:
        if not site_is_subsample(message) and self.row_scale.concerns(message):
            message["scale"] = message["scale"] * self.factor


def row_scale_of(
    pair: Pair,
    example: Batch,
    sites: tuple[Sites, Sites],
    total: int | None,
    size: int | None,
) -> RowScale | None:
    """Return how the rows must be multiplied; None where all is right without.

    Args:
        pair: the pair.
        example: a batch of the data.
        sites: the guide's and the model's sites on it.
        total: number of all rows, if known.
        size: rows of a minibatch, if known.

    Raises:
        Unsupported: if latents are shared by all rows, and the number of all rows is not known or
            the sites of the rows are multiplied in different ways.
    """
    # Sites in the plate "data" need no other look.
    if all(PLATE in _sizes(site) for run in sites for site in run.values()):
        return None
    rows = len(example[0])
    first = _joined(sites)
    if rows > 1:  # what changes with the number of rows belongs to them
        with isolated(pair, seed=0):
            second = _joined(run_pair(pair, tuple(part[:-1] for part in example)))
        plates = {
            name for name, size in _plates(first).items() if _plates(second).get(name) != size
        }
        named = {
            name
            for name, site in first.items()
            if name not in second or site["value"].shape != second[name]["value"].shape
        }
    else:
        second = first
        plates = {name for name, (size, _) in _plates(first).items() if size == 1}
        named = set()
    scale = RowScale(total or rows, frozenset(plates), frozenset(named))
    shared = [name for name, s in first.items() if not s["is_observed"] and not scale.concerns(s)]
    of_rows = [name for name, site in first.items() if scale.concerns(site) and name in second]
    if not shared:
        return None
    scale.shared = shared
    # How many rows each site of the rows stands for, in the units of a shared latent.
    counts = {
        name: [
            scale.rows_of(run[name], rows - place) * _scale(run[name]) / _scale(run[shared[0]])
            for place, run in enumerate((first, second))
        ]
        for name in of_rows
        if shared[0] in second
    }
    unscaled = [name for name, count in counts.items() if not _is_scaled(count, rows, total, size)]
    if counts and not unscaled:
        return None
    latents = (
        f"latent sites {names_of(shared)} are"
        if len(shared) > 1
        else f"latent site {names_of(shared)} is"
    )
    if 0 < len(unscaled) < len(counts):
        raise Unsupported(
            f"{latents} shared by all rows, and of the sites of the rows {names_of(unscaled)} "
            "counts a minibatch as if it were all data, the others do not; put all of them into "
            f"`pyro.plate({PLATE!r}, N, subsample_size=len(x))`, N the number of all rows"
        )
    if total is None or not counts:
        plate = next(iter(plates), PLATE)
        raise Unsupported(
            f"{latents} shared by all rows, and the model counts a minibatch as if it were all "
            f"data, so that the prior would count once a minibatch; write `pyro.plate({plate!r}, "
            "N, subsample_size=len(x))` with N the number of all rows, or pass the data in memory"
        )
    return scale


def _is_scaled(counts: list[float], rows: int, total: int | None, size: int | None) -> bool:
    """Tell whether a site stands for all rows, by the rows it stands for on two batches."""
    first, second = counts
    if rows == 1:
        return not _equal(first, 1.0)
    if not _equal(first * (rows - 1), second * rows):
        return True  # a plate of a fixed size, or a scale that the model computes from the rows
    if total is None or size is None:
        return not _equal(first, rows)
    return size < total and _equal(first * size, rows * total)


def _equal(first: float, second: float) -> bool:
    return abs(first - second) <= _CLOSE * abs(second)


def _scale(site: Site) -> float:
    return float(torch.as_tensor(site["scale"]).double().mean())


def _joined(runs: tuple[Sites, Sites]) -> Sites:
    """Return the sites of guide and model, those of both as the model has them."""
    guide, model = runs
    return {**guide, **model}


def _sizes(site: Site) -> dict[str, tuple[int, int | None]]:
    return {frame.name: (frame.size, frame.full_size) for frame in site["cond_indep_stack"]}


def _plates(sites: Sites) -> dict[str, tuple[int, int | None]]:
    return {name: size for site in sites.values() for name, size in _sizes(site).items()}
