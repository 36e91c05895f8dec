"""Reads matrices of counts, cells by genes, from files and objects that hold them sparse."""

import io
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ppvae.data.annotated_counts import is_annotated, of_annotated, read_annotated
from ppvae.data.count_matrix import CountMatrix, checked
from ppvae.data.files import check_plain, reading
from ppvae.data.matrix_market import MatrixMarket, opened
from ppvae.data.numpy_files import check_archive

FILES = (".h5ad", ".mtx", ".mtx.gz", ".npz")
"""The endings of files of counts."""

_OF_CELLS, _OF_GENES = ("barcodes",), ("features", "genes")


def holds_counts(name: str) -> bool:
    """Tell by its name whether something is a file, or folder, of counts alone.

    Example:
        >>> holds_counts("pbmc.h5ad"), holds_counts("matrix.mtx.gz"), holds_counts("x.npz")
        (True, True, False)
    """
    path = Path(name)
    if os.path.isdir(path):  # of a text that is too long for a path, `is_dir` raises
        return any((path / f"matrix.mtx{z}").is_file() for z in ("", ".gz"))
    return path.name.endswith((".h5ad", ".mtx", ".mtx.gz"))


def read_counts(source: Any, layer: str | None) -> CountMatrix:
    """Read counts from a file or folder, or take them from an object.

    Args:
        source: what `data.counts` takes.
        layer: the layer of an AnnData that has the counts.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if the package that reads a file is not installed.
        TypeError: if the source is no matrix.
        ValueError: if a file is damaged or of another kind, or there is no such layer.
    """
    from scipy.sparse import issparse

    if isinstance(source, str | Path):
        path = Path(source)
        if path.suffix == ".h5ad":
            return read_annotated(path, layer)
    elif is_annotated(source):
        return of_annotated(source, layer)
    if layer is not None:
        raise ValueError(f"layer is for AnnData and .h5ad files, got layer={layer!r}")
    if isinstance(source, str | Path):
        return _read(path)
    if issparse(source):
        return CountMatrix.of("counts", source)
    frame = hasattr(source, "columns") and hasattr(source, "to_numpy")
    values = source.to_numpy() if frame else source
    if not isinstance(values, np.ndarray) or values.ndim != 2:
        raise TypeError(
            "counts must be a path, a sparse matrix of SciPy, an AnnData, or an array or frame "
            f"(cells, genes), got {type(source).__name__}"
        )
    genes, cells = (source.columns, getattr(source, "index", ())) if frame else ((), ())
    return CountMatrix.of("counts", values, tuple(map(str, genes)), tuple(map(str, cells)))


def _read(path: Path) -> CountMatrix:
    import scipy.sparse

    if path.is_dir():
        return _read_text(_matrix_in(path))
    check_plain(path)
    if path.name.endswith((".mtx", ".mtx.gz")):
        return _read_text(path)
    if path.suffix != ".npz":
        raise ValueError(
            f"{path} ends in {path.suffix!r}; expected counts: {', '.join(FILES)}, or a folder "
            "with matrix.mtx, features.tsv and barcodes.tsv"
        )
    check_archive(path)
    with reading(path):
        matrix = checked(scipy.sparse.load_npz(path))  # SciPy reads it without pickle
        return CountMatrix.of(path.stem, matrix)


def _matrix_in(folder: Path) -> Path:
    found = sorted(path for path in folder.iterdir() if path.name.endswith((".mtx", ".mtx.gz")))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ValueError(f"{folder} must hold one file .mtx or .mtx.gz of counts, got {names}")
    return found[0]


def _read_text(path: Path) -> CountMatrix:
    """Read a matrix in the Matrix Market format, with the names beside it."""
    check_plain(path)
    features, barcodes = _beside(path, _OF_GENES), _beside(path, _OF_CELLS)
    header = MatrixMarket.of(path)
    rows, columns = header.rows, header.columns
    cells = tuple(line[0] for line in _lines(barcodes))
    lines = _lines(features)
    genes = _distinct([line[1] if len(line) > 1 else line[0] for line in lines])
    if (rows, columns) not in {(len(genes), len(cells)), (len(cells), len(genes))}:
        raise ValueError(
            f"{path} is a matrix of {rows} x {columns}, but {features.name} names {len(genes)} "
            f"genes and {barcodes.name} {len(cells)} cells; expected one line for each row and "
            "column"
        )
    matrix = header.read()
    with reading(path):
        # The format of 10x Genomics has genes as rows.
        matrix = matrix.T if (rows, columns) == (len(genes), len(cells)) else matrix
        name = path.resolve().parent.name if path.name.startswith("matrix.") else path.stem
        counts = CountMatrix.of(name or "counts", matrix, genes, cells)
    kinds = Counter(line[2] for line in lines if len(line) > 2)
    if len(kinds) > 1:
        shown = ", ".join(f"{kind} {number}" for kind, number in kinds.items())
        counts.notes.append(f"{features.name} has features of several kinds, taken all: {shown}")
    return counts


def _beside(path: Path, words: Sequence[str]) -> Path:
    """Return the file of names beside a matrix: with its prefix, as GSM1_matrix.mtx, or none."""
    prefix, found, _ = path.name.partition("matrix.mtx")
    starts = dict.fromkeys((prefix if found else "", ""))
    names = [f"{start}{word}.tsv{z}" for start in starts for word in words for z in ("", ".gz")]
    for name in names:
        if (path.parent / name).is_file():
            return path.parent / name
    raise ValueError(
        f"{path} needs {names[0]} beside it, which says what its rows and columns are; or read it "
        "yourself, data.counts(scipy.io.mmread(path).T) where its rows are genes"
    )


def _lines(path: Path) -> list[list[str]]:
    with reading(path):
        with io.TextIOWrapper(opened(path), encoding="utf-8") as file:
            return [line.rstrip("\r\n").split("\t") for line in file if line.strip()]


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Number names that occur again."""
    at: Counter[str] = Counter()
    found = []
    for name in names:
        at[name] += 1
        found.append(f"{name} ({at[name]})" if at[name] > 1 else name)
    return tuple(found)
