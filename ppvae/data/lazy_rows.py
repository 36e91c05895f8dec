"""Rows in the place of a tensor, which become one where they are read."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data.files import memory

Which: TypeAlias = int | slice | Sequence[int] | Tensor
"""A row or several, as a tensor is asked for them."""

_AT_ONCE = 128  # rows that are read at once to yield one after the other


class LazyRows(ABC):
    """Rows in the place of a tensor `(data, *event)`, which become one where they are read.

    `rows[3]`, `rows[10:20]` and `rows[index]` are tensors. `fit` reads a minibatch at a time.
    `torch.utils.data.DataLoader` takes them as a map-style dataset.
    """

    dtype: torch.dtype
    """Of the rows that are read."""

    device = torch.device("cpu")
    """Of the rows that are read."""

    @property
    @abstractmethod
    def shape(self) -> torch.Size:
        """The number of rows, and the shape of one."""

    @abstractmethod
    def __getitem__(self, rows: Which) -> Tensor:
        """Return one row, `(*event,)`, or several, `(rows, *event)`."""

    @abstractmethod
    def rows(self, which: slice | Tensor) -> Self:
        """Return some of the rows, still unread."""

    @abstractmethod
    def mapped(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Return rows to which a function is applied where they are read."""

    @abstractmethod
    def marks(self) -> Iterator[NDArray[Any]]:
        """Yield what tells these rows from others, without reading them all from disk."""

    @property
    def nbytes(self) -> int:
        """The bytes that all rows have as a tensor."""
        return self.shape.numel() * self.dtype.itemsize

    def numel(self) -> int:
        """Return the number of values of all rows."""
        return self.shape.numel()

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all rows, as NumPy asks for them."""
        array: NDArray[Any] = self.dense().numpy()
        return array if dtype is None else array.astype(dtype, copy=False)

    def __getitems__(self, rows: list[int]) -> list[Tensor]:
        """Return several rows, as a `DataLoader` collects them."""
        return [*self[rows].unbind()]

    def __iter__(self) -> Iterator[Tensor]:
        """Yield one row at a time."""
        for piece in self.split(_AT_ONCE):
            yield from piece

    def split(self, rows: int) -> Iterator[Tensor]:
        """Yield all rows in their order, `rows` at a time."""
        for start in range(0, len(self), rows):
            yield self[start : start + rows]

    def flatten(self, start_dim: int = 1) -> Tensor:
        """Return all rows as one tensor of vectors, as `Tensor.flatten(1)` does."""
        return self.dense().flatten(start_dim)

    def dense(self, argument: str = "data") -> Tensor:
        """Return all rows as one tensor.

        Raises:
            ValueError: if they need more than half of the machine's memory.
        """
        if self.nbytes > memory() / 2:
            n, features = len(self), self.shape[1:].numel()
            raise ValueError(
                f"{argument}: {n} rows of {features} features need {self.nbytes / 2**30:,.1f} GiB "
                "as a tensor, more than half of the memory of this machine; pass a sample of "
                "them, such as dataset.sampled(1000)"
            )
        return self[:]


def places(rows: Which, count: int) -> NDArray[np.int64]:
    """Return the numbers of the rows that are asked for, of one row without a dimension.

    Raises:
        IndexError: if there is no such row.

    Example:
        >>> places(slice(-2, None), 5), places(-1, 5)
        (array([3, 4]), array(4))
    """
    if isinstance(rows, slice):
        return np.arange(*rows.indices(count), dtype=np.int64)
    array = np.asarray(rows.cpu() if isinstance(rows, Tensor) else rows)
    if array.dtype == bool:
        array = np.flatnonzero(array)
    array = array.astype(np.int64, copy=False)
    if array.size and not (-count <= array.min() and array.max() < count):
        raise IndexError(f"there are {count} rows, and none of the number {array.max()}")
    found: NDArray[np.int64] = np.where(array < 0, array + count, array)
    return found
