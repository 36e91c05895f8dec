"""Where rows lie in latent space: mean and standard deviation of q(z|x), and draws."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.answers.measuring import by_row, on_cpu
from ppvae.answers.rows import Frame, as_rows
from ppvae.diagnostics import refine as refined_draws
from ppvae.engine import (
    MEMORY,
    Adapted,
    Batch,
    Pair,
    by_datapoint,
    draw_chunks,
    isolated,
    refuse_without_latents,
    run_pair,
)

_TAILS = ("pareto_k", "trusted")
_REFINED = 1000  # draws of which few are chosen

Moments = dict[str, tuple[Tensor, Tensor]]


def encode(
    pair: Pair,
    data: Any,
    *,
    split: str = "test",
    refine: bool = False,
    draws: int = 1000,
    seed: int = 0,
    memory: int = MEMORY,
) -> Frame:
    """Return mean and standard deviation of each latent under q(z|x), a row of the table a row.

    They are exact where the guide has one latent site whose distribution has a known mean and
    variance; elsewhere they are those of draws. With `refine` they are those of p(z|x).

    Args:
        pair: any pair.
        data: a dataset, what `new_rows` returns, or `(data, *event)`.
        split: of a dataset: "train", "validation", "test" or "all".
        refine: take the weighted draws of `diagnostics.refine`, with its k and whether each row
            is trusted.
        draws: number of draws where the moments are not known, at least 2.
        seed: of the draws.
        memory: bound in bytes on the intermediate tensors.

    Returns:
        A pandas frame: number, name and class of each row, then columns such as `z_0`, `z_1`, then
        `z_0_sd`, `z_1_sd`, and with `refine` `pareto_k` and `trusted`. Rows that the pair fails
        on are NaN, and a warning names them.

    Raises:
        Unsupported: if the pair has no latents, or its structure does not allow it.
        ValueError: with fewer than 2 draws, 21 with `refine`, or if the data are not valid.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> list(encode(pairs.assemble(digits, latent=2), digits))
        ['row', 'label', 'z_0', 'z_1', 'z_0_sd', 'z_1_sd']
    """
    import pandas

    if draws < 2:
        raise ValueError(f"draws must be at least 2, got {draws}")
    rows = as_rows(data, split)

    def measure(own: Pair, batch: Batch) -> dict[str, NDArray[np.float64]]:
        tails: dict[str, NDArray[np.float64]] = {}
        if refine:
            better = refined_draws(own, batch, draws=draws, seed=seed, memory=memory)
            sds = better.sds
            moments = {name: (mean, sds[name]) for name, mean in better.means.items()}
            tails = {name: better.table[name].values.astype(float) for name in _TAILS}
        else:
            with isolated(own, seed):
                moments = _known(own, batch, memory) or _of_draws(own, batch, draws, memory)
        means = {name: on_cpu(mean) for name, (mean, _) in moments.items()}
        return means | {f"{name}\0": on_cpu(sd) for name, (_, sd) in moments.items()} | tails

    measured = by_row(pair, rows, measure)
    columns = rows.described()
    tails = {name: measured.pop(name) for name in _TAILS if refine}
    for name, values in measured.items():
        site, sd, _ = name.partition("\0")
        columns |= latent_columns(site, values, "_sd" if sd else "")
    if refine:
        columns |= {"pareto_k": tails["pareto_k"], "trusted": tails["trusted"] > 0}
    return pandas.DataFrame(columns)


def encode_draws(
    pair: Pair,
    data: Any,
    *,
    split: str = "test",
    refine: bool = False,
    draws: int = 10,
    seed: int = 0,
    memory: int = MEMORY,
) -> Frame:
    """Return draws z ~ q(z|x) of each row, a draw of a row a row of the table.

    With `refine` they are of p(z|x). Arguments and errors are those of `encode`.

    Args:
        pair: any pair.
        data: a dataset, what `new_rows` returns, or `(data, *event)`.
        split: of a dataset: "train", "validation", "test" or "all".
        refine: take the equally weighted draws of `diagnostics.refine`.
        draws: number of draws, at least 1; with `refine`, of 1000 or more.
        seed: of the draws.
        memory: bound in bytes on the intermediate tensors.

    Returns:
        A pandas frame: number of the draw, then number, name and class of each row, then columns
        such as `z_0`, `z_1`.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> len(encode_draws(pairs.assemble(digits, latent=2), digits, draws=3)) == 3 * 179
        True
    """
    import pandas

    rows = as_rows(data, split)

    def measure(own: Pair, batch: Batch) -> dict[str, NDArray[np.float64]]:
        if refine:
            better = refined_draws(
                own, batch, draws=max(draws, _REFINED), seed=seed, memory=memory
            )
            return {
                name: on_cpu(values[:draws].transpose(0, 1))
                for name, values in better.draws.items()
            }
        chunks: dict[str, list[Tensor]] = {}
        with isolated(own, seed):
            for _, structure, parts in draw_chunks(own, batch, draws, memory):
                refuse_without_latents(structure)
                drawn = [part.latents for part in parts]
                for name in structure.latents:
                    whole = torch.cat([values[name] for values in drawn])
                    chunks.setdefault(name, []).append(whole.transpose(0, 1))
        return {name: on_cpu(torch.cat(values)) for name, values in chunks.items()}

    measured = by_row(pair, rows, measure)
    described = rows.described()
    columns: dict[str, Any] = {"draw": np.repeat(np.arange(draws), len(rows))}
    columns |= {name: np.tile(values, draws) for name, values in described.items()}
    for name, values in measured.items():
        by_draw = np.swapaxes(values, 0, 1).reshape(-1, *values.shape[2:])
        columns |= latent_columns(name, by_draw)
    return pandas.DataFrame(columns)


def latent_columns(
    site: str, values: NDArray[np.float64], ending: str = ""
) -> Mapping[str, NDArray[np.float64]]:
    """Return the columns of a latent site, `(data, *event)`, each with its name.

    Example:
        >>> list(latent_columns("z", np.zeros((3, 2)), "_sd"))
        ['z_0_sd', 'z_1_sd']
    """
    if values.ndim == 1:
        return {f"{site}{ending}": values}
    places = np.ndindex(values.shape[1:])
    return {
        f"{site}_{'_'.join(map(str, place))}{ending}": values[(slice(None), *place)]
        for place in places
    }


def _known(pair: Pair, batch: Batch, memory: int) -> Moments:
    """Return mean and standard deviation by site where they are known; nothing elsewhere."""
    if isinstance(pair, Adapted) and pair.rows_at_once is not None:
        return {}
    parts: list[tuple[Tensor, Tensor]] = []
    name = ""
    for chunk, structure, _ in draw_chunks(pair, batch, 1, memory):
        refuse_without_latents(structure)
        if len(structure.latents) != 1 or not structure.ordered:
            return {}
        (name,) = structure.latents
        site = run_pair(pair, chunk)[0][name]
        try:
            known = site["fn"].mean.double(), site["fn"].variance.double().sqrt()
        except NotImplementedError:
            return {}
        mean, sd = (by_datapoint(value, site, None) for value in known)
        if not bool(mean.isfinite().all() and sd.isfinite().all()):
            return {}
        parts.append((mean, sd))
    means, sds = zip(*parts, strict=True)
    return {name: (torch.cat(means), torch.cat(sds))}


def _of_draws(pair: Pair, batch: Batch, draws: int, memory: int) -> Moments:
    """Return mean and standard deviation of each latent's draws."""
    parts: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for _, structure, runs in draw_chunks(pair, batch, draws, memory):
        refuse_without_latents(structure)
        drawn = [run.latents for run in runs]
        for name in structure.latents:
            values = torch.cat([latents[name] for latents in drawn]).double()
            parts.setdefault(name, []).append((values.mean(0), values.std(0)))
    moments = {}
    for name, chunks in parts.items():
        means, sds = zip(*chunks, strict=True)
        moments[name] = torch.cat(means), torch.cat(sds)
    return moments
