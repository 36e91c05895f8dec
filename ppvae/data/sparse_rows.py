"""Rows of a sparse matrix, made dense where they are read."""

from collections.abc import Callable, Iterator
from typing import Any, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data.lazy_rows import LazyRows, Which

_ROWS = 1024  # that are looked at at once


@final
class SparseRows(LazyRows):
    """Rows of a sparse matrix in the place of a tensor `(data, features)`, without copying them.

    Reading rows returns them dense, of 32-bit floating values: see `LazyRows`.

    Args:
        matrix: of SciPy, in the format CSR; it is not copied.
        index: the numbers of the rows in the matrix, `(data,)`; all unless given.

    Example:
        >>> from scipy.sparse import csr_array
        >>> rows = SparseRows(csr_array([[0, 2], [1, 0], [0, 3]]), torch.tensor([2, 0]))
        >>> rows.shape, rows[0]
        (torch.Size([2, 2]), tensor([0., 3.]))
    """

    dtype = torch.float32

    def __init__(self, matrix: Any, index: Tensor | None = None) -> None:
        if getattr(matrix, "format", None) != "csr":
            raise TypeError(
                f"matrix must be a sparse one of the format CSR, got {type(matrix).__name__}; "
                "write matrix.tocsr()"
            )
        self.matrix = matrix
        numbers = np.arange(matrix.shape[0]) if index is None else index.numpy()
        self._index: NDArray[np.int64] = numbers.astype(np.int64, copy=False)
        self._function: Callable[[Tensor], Tensor] | None = None

    @property
    def shape(self) -> torch.Size:
        """The number of rows and of features."""
        return torch.Size((len(self._index), self.matrix.shape[1]))

    def __getitem__(self, rows: Which) -> Tensor:
        """Return one row, `(features,)`, or several, `(rows, features)`, dense."""
        places = self._index[rows.cpu().numpy() if isinstance(rows, Tensor) else rows]
        picked = self.matrix[np.atleast_1d(places)].astype(np.float32).toarray()
        dense = torch.from_numpy(picked if np.ndim(places) else picked[0])
        return dense if self._function is None else self._function(dense)

    def rows(self, which: slice | Tensor) -> Self:
        """Return some of the rows, still sparse."""
        index = self._index[which.numpy() if isinstance(which, Tensor) else which]
        chosen = type(self)(self.matrix, torch.from_numpy(index))
        chosen._function = self._function
        return chosen

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Return rows to which a function is applied where they are read."""
        rows = self.rows(slice(None))
        rows._function = function
        return rows

    def marks(self) -> Iterator[NDArray[Any]]:
        """Yield the values of the matrix and where they are."""
        yield from (self.matrix.data, self.matrix.indices, self.matrix.indptr)

    def moments(self, function: Callable[[NDArray[Any]], NDArray[Any]]) -> tuple[Tensor, Tensor]:
        """Return mean and variance over the rows of a function of each value, `(features,)` each.

        Args:
            function: of values other than 0; of 0 it must be 0.
        """
        total = np.zeros(self.shape[1])
        squares = np.zeros(self.shape[1])
        for start in range(0, len(self), _ROWS):
            piece = self.matrix[self._index[start : start + _ROWS]].astype(np.float64)
            piece.data = function(piece.data)
            total += np.asarray(piece.sum(0)).ravel()
            piece.data **= 2
            squares += np.asarray(piece.sum(0)).ravel()
        mean = total / len(self)
        variance = (squares / len(self) - mean**2).clip(min=0)
        return torch.from_numpy(mean), torch.from_numpy(variance)
