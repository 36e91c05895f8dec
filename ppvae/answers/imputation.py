"""What missing cells probably hold, given those that are known."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.answers.decoding import categories_of, decoded, features_of
from ppvae.answers.measuring import by_row, on_cpu
from ppvae.answers.rows import Frame, Rows, as_rows
from ppvae.diagnostics import pareto_k
from ppvae.diagnostics import refine as refined_draws
from ppvae.diagnostics.given_posterior import with_its_latents
from ppvae.engine import (
    MEMORY,
    Batch,
    Pair,
    Unsupported,
    isolated,
    predicted_features,
    rows_at,
)


@dataclass(frozen=True)
class Imputed:
    """Missing cells, filled in.

    Args:
        table: number, name and class of each row, then all columns of the table; with several
            imputations `imputation` first, and all rows for each.
        cells: one row a missing cell: which it is, then `value`, the ends `low` and `high` of
            the interval, or the `probability` of a category, and `pareto_k` and `trusted` of the
            row, as of `diagnostics.pareto_k`.
    """

    table: Frame
    cells: Frame


def impute(
    pair: Pair,
    data: Any,
    *,
    split: str = "all",
    imputations: int = 0,
    refine: bool = False,
    draws: int = 1000,
    seed: int = 0,
    memory: int = MEMORY,
) -> Imputed:
    """Fill in missing cells by p(x_missing | x_seen), with intervals.

        sum_k w_k p(x_missing | z_k) / sum_k w_k,    w_k = p(x_seen, z_k) / q(z_k|x_seen)

    with draws z_k ~ q(z|x_seen) (Mattei and Frellsen, "MIWAE: Deep Generative Modelling and
    Imputation of Incomplete Data Sets", 2019). Numbers are filled in by the mean, categories by
    the most probable level; intervals hold 90 %, from 5 % to 95 %. Where a row is not trusted,
    few draws have all the weight, and its intervals are too narrow: `refine` finds better draws.

    Args:
        pair: a pair whose batch says which cells are known, as `pairs.assemble` makes for a
            table in which cells are missing.
        data: a dataset, or what `new_rows` returns.
        split: of a dataset: "train", "validation", "test" or "all".
        imputations: instead of means and most probable levels, so many draws of all missing
            cells of a row together (Rubin, "Multiple Imputation for Nonresponse in Surveys",
            1987).
        refine: take draws and weights of `diagnostics.refine` in place of the guide's.
        draws: number of draws per row, at least 21.
        seed: of the draws.
        memory: bound in bytes on the intermediate tensors.

    Raises:
        Unsupported: if the pair takes complete rows only, has not exactly one observed site, or
            its structure does not allow it.
        ValueError: if a number is too small, or the data are not valid.

    Example:
        >>> from ppvae import data, pairs
        >>> sizes = np.linspace(1, 9, 40) ** 0.5
        >>> cars = data.table({"size": sizes, "age": np.where(sizes > 2.9, np.nan, sizes + 1)})
        >>> filled = impute(pairs.assemble(cars, latent=2), cars)
        >>> list(filled.table), list(filled.cells.column.unique())
        (['row', 'size', 'age'], ['age'])
    """
    if imputations < 0:
        raise ValueError(f"imputations must be at least 0, got {imputations}")
    rows = as_rows(data, split)
    if rows.seen is None:
        raise Unsupported(
            "the pair was trained on complete rows and takes no others, so there is nothing to "
            "impute; train on a table in which cells are missing"
        )
    x, seen = features_of(rows), rows.seen.flatten(1) > 0
    gaps = (~seen).any(1).nonzero().flatten()
    if not len(gaps):
        return Imputed(_table(rows, [x] * max(imputations, 1), bool(imputations)), _cells(rows))
    part = _taken(rows, gaps)
    kept = categories_of(rows.schema)

    def measure(own: Pair, batch: Batch) -> dict[str, NDArray[np.float64]]:
        better, latents, log_weights, drawn = None, None, None, own
        if refine:
            better = refined_draws(own, batch, draws=draws, seed=seed, memory=memory)
            latents, log_weights = better.weighted, better.log_weights
            drawn = with_its_latents(own, batch)
        tails = pareto_k(own, batch, posterior=better, draws=draws, seed=seed, memory=memory)
        with isolated(own, seed):
            features = predicted_features(
                drawn,
                batch,
                levels=kept,
                draws=draws,
                imputations=imputations,
                seed=seed,
                memory=memory,
                given=latents,
                log_weights=log_weights,
            )
        found = {name: on_cpu(values) for name, values in features.items()}
        return found | {"k": tails.pooled_k.values, "trusted": tails.trusted.values.astype(float)}

    found = {name: torch.from_numpy(v) for name, v in by_row(pair, part, measure).items()}
    every = found["imputed"].unbind(1) if imputations else [found["value"]]
    filled = []
    for values in every:
        complete = x.clone()
        complete[gaps] = torch.where(seen[gaps], x[gaps], values.to(x))
        filled.append(complete)
    k, trusted = found["k"].numpy(), found["trusted"].numpy() > 0
    cells = _cells(part, found, ~seen[gaps], kept, k, trusted)
    return Imputed(_table(rows, filled, bool(imputations)), cells)


def _taken(rows: Rows, index: Tensor) -> Rows:
    places = index.numpy()
    return Rows(
        rows_at(rows.batch, index),
        rows.numbers[places],
        tuple(rows.names[place] for place in places) if rows.names else (),
        rows.name,
        None if rows.labels is None else rows.labels[places],
        rows.label,
        rows.columns,
        rows.schema,
        rows.masked,
    )


def _table(rows: Rows, filled: list[Tensor], several: bool) -> Frame:
    import pandas

    tables = []
    for number, x in enumerate(filled):
        first = {"imputation": np.full(len(x), number)} if several else {}
        values = decoded(x, rows.columns, rows.schema)
        tables.append(pandas.DataFrame({**first, **rows.described(), **values}))
    return tables[0] if len(tables) == 1 else pandas.concat(tables, ignore_index=True)


def _cells(
    rows: Rows,
    found: dict[str, Tensor] | None = None,
    missing: Tensor | None = None,
    kept: dict[int, int] | None = None,
    k: NDArray[np.float64] | None = None,
    trusted: NDArray[np.bool_] | None = None,
) -> Frame:
    """Return a table of the missing cells, column by column."""
    import pandas

    described = rows.described()
    names = [*described, "column", "value", "low", "high", "probability", "pareto_k", "trusted"]
    if found is None or missing is None or k is None or trusted is None:
        return pandas.DataFrame({name: [] for name in names})
    values = {
        key: decoded(found[key], rows.columns, rows.schema) for key in ("value", "low", "high")
    }
    tables = []
    for name in values["value"]:
        place = rows.columns.index(name)
        index = missing[:, place].nonzero().flatten().numpy()
        if not len(index):
            continue
        level = place in (kept or {})
        columns = {key: cells[index] for key, cells in described.items()}
        columns["column"] = np.full(len(index), name, dtype=object)
        for key, decoded_values in values.items():
            cells = np.full(len(index), None)
            if key == "value" or not level:
                cells[:] = list(decoded_values[name][index])  # of several types in one column
            columns[key] = cells
        columns["probability"] = found["probability"][index, place].numpy()
        tables.append(
            pandas.DataFrame({**columns, "pareto_k": k[index], "trusted": trusted[index]})
        )
    return pandas.concat(tables, ignore_index=True)[names]
