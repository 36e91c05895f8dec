"""Rows of a sparse matrix, made dense where they are read."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data.files import memory

_ROWS = 1024  # that are looked at at once


class SparseRows:
    """Rows of a sparse matrix in the place of a tensor `(data, features)`, without copying them.

    Reading rows returns them dense, of 32-bit floating values: `rows[3]`, `rows[10:20]` and
    `rows[index]` as of a tensor. `fit` reads a minibatch at a time. `torch.utils.data.DataLoader`
    takes them as a map-style dataset.

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
    device = torch.device("cpu")

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

    @property
    def nbytes(self) -> int:
        """The bytes that all rows have when they are dense."""
        return self.shape.numel() * self.dtype.itemsize

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._index)

    def __getitem__(self, rows: int | slice | Sequence[int] | Tensor) -> Tensor:
        """Return one row, `(features,)`, or several, `(rows, features)`, dense."""
        places = self._index[rows.cpu().numpy() if isinstance(rows, Tensor) else rows]
        picked = self.matrix[np.atleast_1d(places)].astype(np.float32).toarray()
        dense = torch.from_numpy(picked if np.ndim(places) else picked[0])
        return dense if self._function is None else self._function(dense)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all rows dense, as NumPy asks for them."""
        return self.dense().numpy().astype(dtype or np.float32, copy=False)

    def flatten(self, start_dim: int = 1) -> Tensor:
        """Return all rows as one tensor of vectors, as `Tensor.flatten(1)` does."""
        assert start_dim == 1
        return self.dense()

    def __getitems__(self, rows: list[int]) -> list[Tensor]:
        """Return several rows, as a `DataLoader` collects them."""
        return [*self[rows].unbind()]

    def __iter__(self) -> Iterator[Tensor]:
        """Yield one row at a time."""
        for piece in self.split(128):
            yield from piece

    def split(self, rows: int) -> Iterator[Tensor]:
        """Yield all rows in their order, `rows` at a time."""
        for start in range(0, len(self), rows):
            yield self[start : start + rows]

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

    def dense(self, argument: str = "data") -> Tensor:
        """Return all rows as one tensor.

        Raises:
            ValueError: if they need more than half of the machine's memory.
        """
        if self.nbytes > memory() / 2:
            n, features = self.shape
            raise ValueError(
                f"{argument}: {n} rows of {features} features need {self.nbytes / 2**30:,.1f} GiB "
                "when they are dense, more than half of the memory of this machine; pass fewer, "
                'such as tuple(part[:1000] for part in dataset.batch("test"))'
            )
        return self[:]
