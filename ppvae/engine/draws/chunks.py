"""Cuts data and draws into chunks, so that memory stays bounded."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress

import pyro
import pyro.poutine as poutine
import torch
from torch import Tensor

from ppvae.engine.adaptation import Adapted
from ppvae.engine.batches import Batch, row_chunks
from ppvae.engine.draws.compiled_draws import CompiledDraws
from ppvae.engine.draws.drawn import Draws
from ppvae.engine.draws.given_draws import given_traces
from ppvae.engine.draws.guide_draws import Simulation, draw
from ppvae.engine.draws.row_order import depends_on_place
from ppvae.engine.draws.vectorization import model_way_of, way_of
from ppvae.engine.draws.ways import Way
from ppvae.engine.isolation import seeded, seeds
from ppvae.engine.pair import Pair
from ppvae.engine.structure import Structure, structure_of

MEMORY = 64 * 2**20
"""Default bytes of a chunk; larger ones do not fit into the processor's caches."""


def draw_chunks(
    pair: Pair,
    batch: Batch,
    draws: int,
    memory: int,
    *,
    simulation_seed: int | None = None,
    compile: bool = True,
    given: Mapping[str, Tensor] | None = None,
) -> Iterator[tuple[Batch, Structure, Iterator[Draws]]]:
    """Cut data and draws into chunks that stay within `memory`, and draw each when asked for it.

    Yields, for every chunk of the data in order: the chunk, its structure, and an iterator over
    its draws, chunk by chunk.

    Args:
        pair: the model/guide pair.
        batch: all datapoints.
        draws: number of draws per datapoint.
        memory: a bound in bytes on the intermediate tensors of one chunk.
        simulation_seed: draw from the model too, with random numbers of this seed; the guide's
            draws are the same with and without.
        compile: use compiled code where there is much to draw.
        given: latents in place of the guide's draws, `(draw, data, *inner plates, *event)` by
            site; their `log_posterior` is NaN where the guide can score its own draws alone.

    Raises:
        ValueError: if `draws` or `memory` is not positive, or `given` is not of the pair's latent
            sites.
        Unsupported: as `structure_of` does.
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    if memory < 1:
        raise ValueError(f"memory must be at least 1 byte, got {memory}")
    exactly = pair.rows_at_once if isinstance(pair, Adapted) else None
    first, structure = first_rows(pair, batch, exactly or 256)
    way = way_of(pair, first, structure)
    many = way is not Way.ONE_BY_ONE
    simulation = None
    if simulation_seed is not None:
        with seeded(simulation_seed):
            model_way = model_way_of(pair, first, structure, way)
        simulation = Simulation(seeds(simulation_seed), model_way)
    passing = max(1, int(memory / structure.bytes_per_draw))
    # The guide's network runs once a chunk of draws, whatever their number: from 64 draws on its
    # share is small, so the rest of the memory goes to datapoints. The log densities of all draws
    # of a chunk of datapoints are kept until the next one.
    at_once = min(draws, 64) if many else 1
    rows = max(1, min(passing // at_once, memory // (128 * draws)))
    if exactly is not None:
        rows = exactly
    elif rows < len(batch[0]):
        # What a pair makes once for all rows counts for more on few rows.
        few_rows, few = first_rows(pair, batch, rows)
        rows, passing = len(few_rows[0]), max(1, int(memory / few.bytes_per_draw))
        if rows < len(batch[0]) and depends_on_place(pair, first, structure):
            rows = len(batch[0])
    repeats = max(1, passing // min(rows, len(batch[0]))) if many else 1
    # Chunks of one size, if there is one not much smaller: code is generated for one size.
    even = (size for size in range(repeats, 3 * repeats // 4, -1) if draws % size == 0)
    repeats = next(even, repeats)

    compiled = None
    if compile and way is Way.AT_ONCE and simulation is None and given is None:
        compiled = CompiledDraws(pair, structure.bytes_per_draw * len(batch[0]) * draws)

    def traces_of(
        chunk: Batch, structure: Structure, latents: Mapping[str, Tensor] | None, start: int
    ) -> list[poutine.Trace]:
        if latents is None:
            return []
        some = {name: value[start : start + repeats] for name, value in latents.items()}
        return given_traces(pair, chunk, structure, some, way)

    def run_draws(
        chunk: Batch, structure: Structure, latents: Mapping[str, Tensor] | None
    ) -> Iterator[Draws]:
        for start in range(0, draws, repeats):
            count = min(repeats, draws - start)
            # Data and parameters were looked at with the structure: once is enough.
            with pyro.validation_enabled(False):
                if compiled is not None:
                    drawn = compiled(chunk, structure, count)
                else:
                    traces = traces_of(chunk, structure, latents, start)
                    drawn = draw(
                        pair, chunk, structure, count, way=way, simulation=simulation, given=traces
                    )
            yield drawn

    begin = 0
    for part in row_chunks(batch, rows):
        count = len(part[0])
        chunk = part if exactly is None else _repeated(part, rows)
        seen = len(chunk[0]) == len(first[0]) == len(batch[0])
        here = structure if seen else structure_of(pair, chunk)
        latents = None
        if given is not None:
            places = begin + torch.arange(len(chunk[0])) % count
            latents = {name: value[:, places] for name, value in given.items()}
        begin += count
        if count == len(chunk[0]):
            yield chunk, here, run_draws(chunk, here, latents)
        else:
            drawn = (values.first(count) for values in run_draws(chunk, here, latents))
            yield chunk, here.first(count), drawn


def _repeated(batch: Batch, rows: int) -> Batch:
    """Repeat the first datapoints until there are as many rows."""
    return tuple(
        tensor[torch.arange(rows, device=tensor.device) % len(tensor)] for tensor in batch
    )


def collected(
    parts: Iterable[Draws], draws: int, *read: Callable[[Draws], Tensor]
) -> list[Tensor]:
    """Read values of each chunk of draws, `(draw, data)`, and join them along the draws.

    They are copied into tensors allocated once. Small tensors that are kept while large ones are
    allocated and freed fragment the memory: the process would grow by many times their size.
    """
    whole: list[Tensor] = []
    start = 0
    for part in parts:
        values = [function(part) for function in read]
        whole = whole or [value.new_empty(draws, *value.shape[1:]) for value in values]
        for kept, value in zip(whole, values, strict=True):
            kept[start : start + len(value)] = value
        start += len(values[0])
    return whole


def first_rows(pair: Pair, batch: Batch, rows: int) -> tuple[Batch, Structure]:
    """Read a pair's structure on its first rows, or on all if a plate does not take fewer."""
    first = tuple(tensor[:rows] for tensor in batch)
    with suppress(Exception):  # on all rows, an error of the pair's comes up again
        return first, structure_of(pair, first)
    return batch, structure_of(pair, batch)
