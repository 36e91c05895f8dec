"""Measures datapoints in blocks, which several processes share."""

from collections.abc import Callable
from typing import Any, TypeVar

import xarray as xr

from ppvae.diagnostics.names import names_of
from ppvae.diagnostics.posterior_refinement import Refined
from ppvae.engine import Data, Pair, Processes, adapted, row_chunks

T = TypeVar("T", xr.Dataset, xr.DataArray, Refined)


def sharded(
    measure: Callable[..., T],
    pair: Pair,
    data: Data,
    *,
    rows: int = 1024,
    seed: int = 0,
    **options: Any,
) -> T:
    """Measure datapoints in blocks; several processes take a part of the blocks each.

    All processes of the default process group, or those that `torchrun` has started, must call it
    with the same arguments, and each gets the whole result. Every block has a seed of its own: the
    numbers are the same whatever the number of processes, one included.

    Args:
        measure: what measures each datapoint by itself, such as `evidence`, `weights`, `gaps` or
            `refine`; called as `measure(pair, block, seed=seed, **options)`.
        pair: any pair.
        data: `(data, *event)`; of a dataset, the test split.
        rows: datapoints of a block.
        seed: of the draws.
        options: further ones of `measure`.

    Raises:
        ValueError: if `rows` is less than 1.
        ConnectionError: if another process has ended.
        Exception: what `measure` raises; in the other processes `OtherProcessFailed`.

    Example:
        >>> from ppvae import data, pairs
        >>> from ppvae.diagnostics import evidence
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> sharded(evidence, pair, digits.test[:50], rows=20, draws=10).sizes["data"]
        50
    """
    if rows < 1:
        raise ValueError(f"rows must be at least 1, got {rows}")
    processes, names = Processes.present(), names_of(data, "test")
    pair, batch = adapted(pair, data, split="test", seed=seed)
    ordered = processes.divided(
        row_chunks(batch, rows),
        lambda place, block: measure(pair, block, seed=seed + place, **options),
    )
    if isinstance(ordered[0], Refined):
        return Refined.joined(ordered, names)
    return names.on(xr.concat(ordered, dim="data", combine_attrs="override"))
