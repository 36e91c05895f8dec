"""Adapts any pair and its data to what the engine takes."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch

from ppvae.engine.adaptation.adapted import Adapted
from ppvae.engine.adaptation.arguments import batch_of
from ppvae.engine.adaptation.data_plate import (
    DataPlate,
    data_plate,
    larger,
    loops,
    sizes_of_plates,
)
from ppvae.engine.adaptation.datapoints_apart import apart
from ppvae.engine.adaptation.forms import Form
from ppvae.engine.adaptation.lazy_batches import lazy_batch, lazy_parts
from ppvae.engine.adaptation.shared_latents import shared_of
from ppvae.engine.adaptation.sources import arguments_of
from ppvae.engine.batches import Batch
from ppvae.engine.errors import Unsupported
from ppvae.engine.execution import run_guide, run_once
from ppvae.engine.failures import FAILURES, rows_at, sound_rows
from ppvae.engine.isolation import isolated
from ppvae.engine.laplace import normal_at_mode
from ppvae.engine.modules import unfinished
from ppvae.engine.pair import Pair
from ppvae.engine.sites import PLATE, Sites
from ppvae.engine.tracing import traced

_ROWS = 256  # on which the plates are looked for


def adapted(
    pair: Pair,
    data: Any,
    *,
    split: str,
    argument: str = "data",
    seed: int = 0,
    in_chunks: bool = False,
) -> tuple[Pair, Batch]:
    """Return a pair and a batch as the engine takes them, for a diagnostic.

    They are the pair itself and the data's tensors where these already are so.

    Args:
        pair: any pair. Its attribute `data_plate` may name the plate over datapoints, and
            `data_dim` the dimension of the data's rows, 0 without it.
        data: tensors or arrays, a tuple or dict of them, of None and of numbers, a dataset, or a
            `DataLoader`, whose rows are read into tensors.
        split: the part of a dataset that is taken.
        argument: what to call the data in an error.
        seed: of the draws of latents that all datapoints share.
        in_chunks: whether rows that are read when they are asked for may stay so: the batch then
            holds `LazyRows`, of which `row_chunks` and `rows_at` make tensors.

    Raises:
        TypeError: if data are of a kind that no batch can be made of.
        ValueError: if data are empty or not finite, or have different numbers of rows.
        Unsupported: if no plate has as many rows as the data, or several have.
    """
    if isinstance(pair, Adapted):
        if isinstance(data, tuple):  # a diagnostic makes use of another, on the same rows
            return pair, data
        pair = pair.pair
    if in_chunks:
        unread = _unread(pair, data, split, argument, seed)
        if unread is not None:
            return pair, unread
    arguments = arguments_of(data, split=split, pair=pair, argument=argument)
    batch, form = batch_of(pair, arguments, argument=argument)
    found = _found(Adapted(pair, form), batch, seed)
    if found is not None:
        return found
    for rows in form.lengths:  # the rows may be those of another tensor than the first
        other, with_rows = batch_of(pair, arguments, rows=rows, argument=argument)
        found = _found(Adapted(pair, with_rows), other, seed)
        if found is not None:
            return found
    if form.lengths:
        raise ValueError(
            f"{argument} holds tensors of {list(form.lengths)} rows, and the pair has no plate of "
            "so many on which it runs; expected the same number in each, or in all that are not "
            "for every row"
        )
    return (pair if form.plain else Adapted(pair, form)), batch


def _unread(pair: Pair, data: Any, split: str, argument: str, seed: int) -> Batch | None:
    """Return rows that are read when they are asked for, of a pair that takes them as they are."""
    parts = lazy_parts(data, split, pair)
    if parts is None:
        return None
    batch, form = lazy_batch(pair, parts, argument)
    example = tuple(part[:_ROWS] for part in batch)
    with suppress(Exception), isolated(pair, seed):  # it comes up again with all rows
        guide, model = run_once(Adapted(pair, form), example)
        if form.plain and _conventional(guide, model, len(example[0])):
            return batch
    return None


def _found(plain: Adapted, batch: Batch, seed: int) -> tuple[Pair, Batch] | None:
    """Return what `adapted` does; None if the pair does not run, or no plate fits the rows.

    Raises:
        Unsupported: if the pair runs, all tensors have as many rows, and no plate does.
    """
    for example in _examples(plain, batch):
        try:
            with isolated(plain.pair, seed):
                guide, model = run_once(plain, example)
        except Unsupported:
            raise
        except Exception:  # it comes up again when the pair is measured, if it does there
            continue
        rows = len(example[0])
        if plain.form.plain and _conventional(guide, model, rows):
            return plain.pair, batch
        plate = data_plate(guide, model, rows, getattr(plain.pair, "data_plate", None))
        if plate is not None:
            return _with_plate(plain, plate, example, batch, seed)
        if rows == len(batch[0]) and not plain.form.lengths:
            for name, count in larger(guide, model).items():
                raise Unsupported(
                    f"the guide has {count} rows in the plate {name!r}, as an automatic guide has "
                    f"that was trained on so many datapoints, and the data have {rows}; pass all "
                    f"{count} together"
                )
            for name in loops(guide, model, rows):
                raise Unsupported(
                    f"the plate {name!r} over the datapoints is a loop, so that each of them has "
                    "sites of its own; write `with pyro.plate(...)` instead of `for i in "
                    "pyro.plate(...)`"
                )
            raise _no_plate(plain, batch, sizes_of_plates(guide, model))
    return None


def redrawn(pair: Pair, batch: Batch, seed: int, *, prior: bool = False) -> Pair:
    """Return a pair with another draw of the latents that all datapoints share.

    Args:
        pair: what `adapted` returned.
        batch: all datapoints.
        seed: of the draw.
        prior: draw from the model, instead of the guide.
    """
    if not isinstance(pair, Adapted) or not pair.shared.given:
        return pair
    free = replace(pair, shared=replace(pair.shared, given={}))
    with isolated(pair, seed):
        trace = traced(free.model, batch, "the model ran") if prior else run_guide(free, batch)
    drawn = {name: trace.nodes[name]["value"] for name in pair.shared.given if name in trace.nodes}
    return replace(pair, shared=replace(pair.shared, given={**pair.shared.given, **drawn}))


def trained(pair: Pair, form: Form, example: Batch) -> Pair:
    """Return a pair as training takes it: the pair itself where it already is so.

    Nothing is drawn in advance nor left out here: the objective is what Pyro makes of it.

    Args:
        pair: the pair.
        form: of its batches.
        example: a batch.

    Raises:
        Exception: what the pair raises.
    """
    plain = Adapted(pair, form, unrolled=False)
    guide, model = run_once(plain, example)
    plate = None
    if not (form.plain and _conventional(guide, model, len(example[0]))):
        with suppress(Unsupported):  # training needs no plate over datapoints
            plate = data_plate(guide, model, len(example[0]), getattr(pair, "data_plate", None))
    if plate is None or plate.model is None or plate.guide is None:
        return pair if form.plain else plain
    return replace(plain, plate=replace(plate, chosen=None))


def _examples(plain: Adapted, batch: Batch) -> Iterator[Batch]:
    """Yield rows on which a pair may run: the first, all, and those that it does not fail on."""
    if len(batch[0]) > _ROWS and not unfinished(plain.pair):
        yield tuple(part[:_ROWS] for part in batch)
    yield batch
    with suppress(Exception):
        rows = sound_rows(plain, batch)
        if 0 < len(rows) < len(batch[0]):
            yield rows_at(batch, rows[:_ROWS])


def _conventional(guide: Sites, model: Sites, rows: int) -> bool:
    """Tell whether a pair is as the engine takes it."""
    frames = [site["cond_indep_stack"] for site in (*guide.values(), *model.values())]
    return (
        all((PLATE, rows) in [(frame.name, frame.size) for frame in stack] for stack in frames)
        # A plate without a size of its own has no `full_size`.
        and all(f.vectorized and f.full_size is not None for stack in frames for f in stack)
        and not any(site["is_observed"] for site in guide.values())
    )


def _with_plate(
    plain: Adapted, plate: DataPlate, example: Batch, batch: Batch, seed: int
) -> tuple[Pair, Batch]:
    """Return a pair whose rows stand in the plate "data", and what its datapoints share."""
    with_plate = replace(plain, plate=plate)
    if plate.chosen is not None:
        with_plate, batch, example = _by_index(with_plate, batch)
    else:
        with_plate = _with_guide_apart(with_plate, batch, seed)
    with isolated(plain.pair, seed):
        shared = shared_of(*run_once(with_plate, example))
    if shared.given and plate.chosen is None and len(example[0]) < len(batch[0]):
        # They may depend on all datapoints, if the pair does not fail on some.
        with suppress(*FAILURES), isolated(plain.pair, seed):
            shared = shared_of(*run_once(with_plate, batch))
    return replace(with_plate, shared=shared), batch


def _with_guide_apart(pair: Adapted, batch: Batch, seed: int) -> Adapted:
    """Return a pair whose automatic guide has a site for the latents of each datapoint."""
    assert pair.plate is not None
    model, guide = pair.pair.model, pair.pair.guide
    with isolated(pair.pair, seed):
        measured = normal_at_mode(model, guide, *pair.form.filled(batch))
    taken_apart = apart(measured, pair.plate.guide, pair.plate.dim, len(batch[0]))
    return replace(pair, measured=measured, apart=taken_apart)


def _by_index(pair: Adapted, batch: Batch) -> tuple[Adapted, Batch, Batch]:
    """Return a pair that takes the numbers of its rows, and so many as its programs pick."""
    assert pair.plate is not None and pair.plate.chosen is not None
    numbers = torch.arange(len(batch[0]), device=batch[0].device)
    arguments, keywords = pair.form.filled(batch)
    whole = replace(pair, form=Form(arguments, keywords))
    return whole, (numbers,), (numbers[: pair.plate.chosen],)


def _no_plate(plain: Adapted, batch: Batch, sizes: Mapping[str, int]) -> Unsupported:
    """Say that no plate has as many rows as the data, and which dimension would fit one."""
    rows = len(batch[0])
    shown = ", ".join(f"{name!r} of {size}" for name, size in sizes.items()) or "none"
    named = getattr(plain.pair, "data_plate", None)
    wanted = f"the plate {named!r}" if named is not None else "no plate"
    said = f"{wanted} of model and guide has the data's {rows} rows (plates: {shown})"
    if named is not None:
        said = f"{wanted} (`data_plate` of the pair) does not have the data's {rows} rows"
    for dim, size in enumerate(batch[0].shape):
        if dim and size in sizes.values() and not getattr(plain.pair, "data_dim", 0):
            return Unsupported(
                f"{said}, but dimension {dim} of the data has {size}: if the datapoints stand "
                f"there, set `pair.data_dim = {dim}`"
            )
    return Unsupported(
        f"{said}; expected one over the datapoints, such as `pyro.plate({PLATE!r}, len(x))`"
    )
