"""Counts of single cells, and of other data that are mostly zeros."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import one_hot

from ppvae.data.count_files import read_counts
from ppvae.data.count_matrix import CountMatrix
from ppvae.data.dataset import Dataset
from ppvae.data.sparse_rows import SparseRows
from ppvae.data.splitting import split
from ppvae.data.tabular.schema import check_names

_DENSE = 2**26  # bytes up to which counts become a tensor
_LOG = logging.getLogger(__name__)


def counts(
    source: str | Path | Any,
    *,
    layer: str | None = None,
    batch: str | Sequence[Any] | None = None,
    label: str | Sequence[Any] | None = None,
    id: str | None = None,
    sparse: bool | None = None,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
) -> Dataset:
    """Return counts of cells by genes, or of anything else that is counted in rows.

    The dataset's `sizes` hold the total count of each cell, which `likelihoods.ObservedSize`
    takes as observed (Lopez et al., "Deep generative modeling for single-cell transcriptomics",
    2018); `columns` name the genes and `row_names` the cells. With `batch` the pair is given the
    batch of each cell, one-hot.

    Large counts stay sparse: `train`, `validation` and `test` are `SparseRows` of the matrix that
    was read, and `fit` makes a minibatch at a time dense.

    Args:
        source: a file `.h5ad` (the package anndata reads it), a sparse matrix `.npz` of SciPy, a
            matrix `.mtx` or `.mtx.gz` with features and barcodes beside it or the folder of
            these, as 10x Genomics writes it; or an AnnData, a sparse matrix of SciPy, an array or
            a frame `(cells, genes)`.
        layer: the layer of an AnnData that has the counts, "raw" for those that it keeps aside;
            "X" unless given.
        batch: the column of `obs` that says in which batch a cell was measured, or one value a
            cell.
        label: the column of `obs` with the classes, or one value a cell.
        id: the column of `obs` that names the cells; the names of its rows unless given.
        sparse: whether the counts stay sparse. By default they do where they need more than
            64 MiB as a dense tensor.
        validation: the fraction of cells for validation.
        test: the fraction of cells for testing.
        seed: the seed of the random split.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if the package anndata is needed and not installed.
        TypeError: if the source is no matrix of numbers.
        ValueError: if a file is damaged, values are no counts, such as normalized ones, a cell has
            no count, or there is no such layer or column.

    Example:
        >>> from scipy.sparse import random_array
        >>> matrix = random_array((60, 4), density=0.5, random_state=0, format="csr") * 9
        >>> matrix.data = matrix.data.round() + 1
        >>> cells = counts(matrix[matrix.sum(1) > 0], sparse=True)
        >>> cells.event_shape, torch.equal(cells.sizes["test"], cells.test[:].sum(1, keepdim=True))
        (torch.Size([4]), True)
    """
    read = read_counts(source, layer)
    read.check()
    n, features = read.matrix.shape
    classes, label_names = _codes(read, label, "label")
    batches, batch_names = _codes(read, batch, "batch")
    names = _names(read, id)
    rows = torch.zeros(n, 1)  # the split needs no values
    support = constraints.nonnegative_integer
    dataset = split(
        read.name, rows, support, labels=classes, validation=validation, test=test, seed=seed
    )
    if sparse is None:
        sparse = n * features * 4 > _DENSE
    totals = torch.from_numpy(read.sums[0]).float().unsqueeze(1)
    parts = {part: SparseRows(read.matrix, index) for part, index in dataset.rows.items()}
    values = {
        part: cast(Tensor, rows) if sparse else rows.dense(read.name)
        for part, rows in parts.items()
    }
    given = None if batches is None else one_hot(batches, len(batch_names)).float()
    index = dataset.rows
    dataset = replace(
        dataset,
        train=values["train"],
        validation=values["validation"],
        test=values["test"],
        columns=read.genes,
        label_names=label_names,
        row_names={part: tuple(names[row] for row in index[part].tolist()) for part in index}
        if names
        else {},
        sizes={part: totals[index[part]] for part in index},
        conditions={} if given is None else {part: (given[index[part]],) for part in index},
        notes=(*read.notes, *_notes(read, batch_names)),
    )
    for note in dataset.notes:
        _LOG.warning(note)
    return dataset


def _names(read: CountMatrix, id: str | None) -> tuple[str, ...]:
    if id is None:
        return read.cells
    return tuple(map(str, _column(read, id, "id")))


def _codes(
    read: CountMatrix, wanted: str | Sequence[Any] | None, what: str
) -> tuple[Tensor | None, tuple[str, ...]]:
    """Return the number of each cell's class, and the names of the classes."""
    import pandas

    if wanted is None:
        return None, ()
    column = pandas.Series(_column(read, wanted, what))
    missing = int(column.isna().sum())
    if missing:
        raise ValueError(
            f"{read.name}: {what} is missing in {missing} of {len(column)} cells; fill in or "
            "remove these"
        )
    if not isinstance(column.dtype, pandas.CategoricalDtype):
        column = column.astype("category")
    column = column.cat.remove_unused_categories()
    names = tuple(map(str, column.cat.categories))
    if len(names) > max(20, len(column) / 2):
        raise ValueError(
            f"{read.name}: {what} has {len(names)} different values in {len(column)} cells; "
            "expected groups of cells"
        )
    return torch.from_numpy(column.cat.codes.to_numpy().astype(np.int64)), names


def _column(read: CountMatrix, wanted: str | Sequence[Any], what: str) -> Any:
    """Return a column of the cells by its name, or what was given in its place."""
    cells = read.matrix.shape[0]
    if isinstance(wanted, str):
        if not len(getattr(read.about, "columns", read.about)):
            raise ValueError(
                f"{what}={wanted!r} names a column of an AnnData, and {read.name} has none; pass "
                f"one value a cell ({cells} cells)"
            )
        check_names(f"{what}: {read.name}", [wanted], read.about)
        return read.about[wanted]
    if len(wanted) != cells:
        raise ValueError(
            f"{what} has {len(wanted)} values; expected one for each of {cells} cells"
        )
    return wanted


def _notes(read: CountMatrix, batches: tuple[str, ...]) -> list[str]:
    notes = []
    silent = int((read.sums[1] == 0).sum())
    if silent:
        notes.append(f"{read.name}: {silent} gene(s) have no count in any cell")
    if batches:
        shown = ", ".join(batches)
        notes.append(f"{read.name}: the pair is given the batch of each cell: {shown:.200}")
    return notes
