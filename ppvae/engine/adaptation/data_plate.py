"""Finds the plate over datapoints: in a program it may have any name, or no size."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from ppvae.engine.errors import Unsupported
from ppvae.engine.sites import PLATE, Site, Sites, names_of


@dataclass(frozen=True)
class DataPlate:
    """The plate over datapoints of a pair.

    Args:
        model: its name in the model, or None where the model has no plate over them.
        guide: likewise of the guide.
        dim: the batch dimension of the datapoints.
        chosen: how many datapoints a program picks itself at each run, or None.
    """

    model: str | None
    guide: str | None
    dim: int
    chosen: int | None = None


@dataclass(frozen=True)
class _Plate:
    """A plate as one program has it."""

    name: str
    dim: int
    picked: int | None  # how many of its rows the program picks itself


def data_plate(guide: Sites, model: Sites, rows: int, name: str | None = None) -> DataPlate | None:
    """Find the plate over datapoints: the outermost one of as many rows as the data.

    Model and guide share it, unless all latents of the guide stand outside of it, or each has one
    of its own at the same dimension. Without any such plate, a batch dimension of that many rows
    at the observed sites is meant.

    Args:
        guide: the guide's sites.
        model: the model's sites.
        rows: number of datapoints.
        name: the plate's name, where two could be meant.

    Returns:
        The plate; None if there is none of so many rows.

    Raises:
        Unsupported: if two plates could be meant.
    """
    of_model, of_guide = (_plates_of(sites, rows) for sites in (model, guide))
    if name is not None:
        of_model, of_guide = ([p for p in each if p.name == name] for each in (of_model, of_guide))
    shared = [plate for plate in of_model if plate.name in [other.name for other in of_guide]]
    conventional = [plate for plate in shared if plate.name == PLATE]
    found = conventional or shared
    if found:
        return _alone(found, model)
    if of_model and not of_guide:
        found_alone = _alone(of_model, model)
        without = any(size_at(s["fn"], found_alone.dim) == rows for s in guide.values())
        return replace(found_alone, guide=None) if without else found_alone
    alike = [(m, g) for m in of_model for g in of_guide if m.dim == g.dim]
    if len(alike) == 1:
        (in_model, in_guide) = alike[0]
        picked = in_model.picked or in_guide.picked
        return DataPlate(in_model.name, in_guide.name, in_model.dim, picked)
    if alike:
        raise _ambiguous([plate.name for plate, _ in alike])
    observed = [site for site in model.values() if site["is_observed"]]
    dims = {dim for site in observed if (dim := _dim_of(site, rows)) is not None}
    return DataPlate(None, None, dims.pop()) if len(dims) == 1 else None


def sizes_of_plates(guide: Sites, model: Sites) -> dict[str, int]:
    """Return the sizes of all vectorized plates by name, for a message."""
    sites = [*guide.values(), *model.values()]
    return {frame.name: _full(frame) for site in sites for frame in _frames(site)}


def larger(guide: Sites, model: Sites) -> dict[str, int]:
    """Return the rows of plates of which the guide has more than the model's data, by name."""
    sites = [*guide.values(), *model.values()]
    frames = [frame for site in sites for frame in _frames(site)]
    return {frame.name: int(frame.size) for frame in frames if frame.size > _full(frame)}


def loops(guide: Sites, model: Sites, rows: int) -> list[str]:
    """Return the plates of so many rows over which a program loops, for a message."""
    stacks = [site["cond_indep_stack"] for t in (guide, model) for site in t.values()]
    sequential = [frame for stack in stacks for frame in stack if not frame.vectorized]
    return list(dict.fromkeys(frame.name for frame in sequential if _full(frame) == rows))


def _alone(found: list[_Plate], model: Sites) -> DataPlate:
    """Return the outermost of several plates.

    Raises:
        Unsupported: if they do not stand in each other.
    """
    first, *others = found
    for other in others:
        if _within(first, other, model):
            first = other
    if rest := [p.name for p in others if p != first and not _within(p, first, model)]:
        raise _ambiguous([first.name, *rest])
    return DataPlate(first.name, first.name, first.dim, first.picked)


def _ambiguous(names: Iterable[str]) -> Unsupported:
    return Unsupported(
        f"the plates {names_of(names)} both have as many rows as the data; say which one is over "
        'datapoints by an attribute of the pair, such as `pair.data_plate = "name"`'
    )


def _within(inner: _Plate, outer: _Plate, model: Sites) -> bool:
    """Tell whether a plate stands within another at some site."""
    for site in model.values():
        names = [frame.name for frame in _frames(site)]  # the outermost comes first
        if inner.name in names and outer.name in names:
            return names.index(outer.name) < names.index(inner.name)
    return False


def _plates_of(sites: Sites, rows: int) -> list[_Plate]:
    """Return the plates of a program that have as many rows as the data, each once."""
    found: dict[str, _Plate] = {}
    for site in sites.values():
        for frame in _frames(site):
            size, full = _size(frame, site), _full(frame)
            if size == rows:
                found.setdefault(frame.name, _Plate(frame.name, frame.dim, None))
            elif size < full == rows:
                found.setdefault(frame.name, _Plate(frame.name, frame.dim, size))
    return list(found.values())


def _frames(site: Site) -> list[Any]:
    return [frame for frame in site["cond_indep_stack"] if frame.vectorized]


def _size(frame: Any, site: Site) -> int:
    """Return a plate's rows; those of the site's distribution if the plate has no size."""
    return size_at(site["fn"], frame.dim) if frame.size == -1 else int(frame.size)


def size_at(distribution: Any, dim: int) -> int:
    """Return the size of a batch dimension, 1 where there is none."""
    shape = distribution.batch_shape
    return int(shape[dim]) if len(shape) >= -dim else 1


def _full(frame: Any) -> int:
    return int(frame.full_size or frame.size)


def _dim_of(site: Site, rows: int) -> int | None:
    """Return the leftmost batch dimension of so many rows."""
    shape = site["fn"].batch_shape
    return next((dim for dim in range(-len(shape), 0) if shape[dim] == rows), None)
