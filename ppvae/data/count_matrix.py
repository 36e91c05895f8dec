"""Counts of cells by genes, with the names of both."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PIECE = 2**17  # values looked at at once
_EMPTY = 2**24  # rows or columns without values that are still no mistake
_EXACT = 2**24  # up to which 32-bit floating values hold every whole number


@dataclass(frozen=True)
class CountMatrix:
    """Counts as they were read.

    Args:
        name: what to call them.
        matrix: `(cells, genes)`, of SciPy in the format CSR.
        genes: the names of the genes, if there are any.
        cells: the names of the cells, if there are any.
        about: further columns of the cells, by name.
        whole_layers: the layers that hold whole numbers, of those that were not taken.
        notes: what was decided in reading, one sentence each.
    """

    name: str
    matrix: Any
    genes: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    whole_layers: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        name: str,
        matrix: Any,
        genes: tuple[str, ...] = (),
        cells: tuple[str, ...] = (),
        about: Mapping[str, Any] | None = None,
        whole_layers: tuple[str, ...] = (),
    ) -> "CountMatrix":
        """Return counts of any matrix `(cells, genes)`, which is not copied if it is CSR."""
        from scipy.sparse import csr_array

        if getattr(matrix, "format", None) != "csr":
            matrix = csr_array(matrix)
        return cls(name, matrix, genes, cells, {} if about is None else about, whole_layers)

    def check(self) -> None:
        """Refuse what are no counts, and cells without any.

        Raises:
            TypeError: if they are no real numbers.
            ValueError: if a value is negative, not whole, not finite or too large, or the total
                of a cell is 0.
        """
        values = self.matrix.data
        if values.dtype.kind not in "biuf":
            raise TypeError(f"{self.name} holds values of type {values.dtype}; expected counts")
        for start in range(0, len(values), _PIECE):
            self._check_values(values[start : start + _PIECE])
        (empty,) = np.nonzero(self.sums[0] == 0)
        if len(empty):
            names = ", ".join(self.cells[row] if self.cells else str(row) for row in empty[:3])
            more = ", ..." if len(empty) > 3 else ""
            raise ValueError(
                f"{self.name}: {len(empty)} of {self.matrix.shape[0]} cells have no count at all "
                f"({names}{more}); remove them, in a sparse matrix x[x.sum(1) > 0], or take the "
                "filtered one"
            )

    def _check_values(self, values: NDArray[Any]) -> None:
        if not values.size:
            return
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"{self.name} holds NaN or infinite values; expected counts")
        if values.min() < 0:
            raise ValueError(
                f"{self.name} holds negative values, the lowest {values.min():g}, such as scaled "
                f"ones; expected counts{self._instead()}"
            )
        if values.dtype.kind == "f" and not (values == np.floor(values)).all():
            other = values[values != np.floor(values)][0]
            raise ValueError(
                f"{self.name} holds values that are not whole, such as {other:g}: normalized "
                f"counts or logarithms; expected counts{self._instead()}"
            )
        if values.max() > _EXACT:
            raise ValueError(
                f"{self.name} holds the count {values.max():.0f}; expected at most {_EXACT}, up "
                "to which 32-bit numbers are exact: leave that gene out"
            )

    def _instead(self) -> str:
        if not self.whole_layers:
            return " as they were measured"
        shown = ", ".join(map(repr, self.whole_layers))
        return f", which the layer(s) {shown} may be: pass layer={self.whole_layers[0]!r}"

    @functools.cached_property
    def sums(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The total count of each cell and of each gene."""
        cells, genes = self.matrix.shape
        of_cells, of_genes = np.zeros(cells), np.zeros(genes)
        rows = max(1, _PIECE * cells // max(1, self.matrix.nnz))
        for start in range(0, cells, rows):
            piece = self.matrix[start : start + rows].astype(np.float64)
            of_cells[start : start + rows] = np.asarray(piece.sum(1)).ravel()
            of_genes += np.asarray(piece.sum(0)).ravel()
        return of_cells, of_genes


def checked(matrix: Any) -> Any:
    """Return a sparse matrix that was read from a file, if its places lie within its shape.

    SciPy does not look at them, and its code would read and write outside of its memory.

    Raises:
        ValueError: if a place lies outside, or nearly all rows or columns are empty.
    """
    from scipy.sparse import issparse

    if not issparse(matrix):
        return matrix
    if matrix.ndim != 2:
        raise ValueError(f"it has {matrix.ndim} dimensions; expected cells and genes")
    if max(matrix.shape) > matrix.nnz + _EMPTY:
        raise ValueError(f"it has the shape {matrix.shape} and {matrix.nnz} stored values")
    if matrix.format in ("csr", "csc", "bsr"):
        if (np.diff(matrix.indptr) < 0).any():
            raise ValueError("its index pointer falls")
        matrix.check_format(full_check=True)
    return matrix


def are_whole(values: Any) -> bool:
    """Tell whether values may be counts: whole numbers from 0."""
    values = np.asarray(values)
    if values.dtype.kind not in "biuf":
        return False
    return bool(((values >= 0) & (values == np.floor(values))).all())
