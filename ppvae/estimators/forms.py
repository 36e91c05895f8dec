"""What an estimator is given, as numbers, and numbers as what it was given."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import narwhals
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import constraints

from ppvae.data import Schema, support_of
from ppvae.data.tabular import as_frame

_ROUNDING = 1e-6
_PILED = 0.05  # the share of values at 0 and 1 above which [0, 1] is no result of scaling


class Form(ABC):
    """How rows are encoded as numbers."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of features."""

    @abstractmethod
    def name(self, place: int) -> str:
        """Return the name of a feature."""

    @abstractmethod
    def encode(self, rows: Any) -> tuple[Tensor, Tensor]:
        """Return the numbers, and which of them are known, 1 or 0, `(data, features)` each.

        Where a cell is missing stands a number of the support.

        Raises:
            ValueError: if a cell is not of its column's kind.
        """

    @abstractmethod
    def decode(self, x: Tensor) -> Any:
        """Return the rows that numbers `(data, features)` stand for."""

    @abstractmethod
    def support(self, x: Tensor) -> constraints.Constraint:
        """Return the values that the features of numbers `(data, features)` may take."""


@dataclass(frozen=True)
class Numbers(Form):
    """Arrays of numbers; NaN stand for missing ones.

    Args:
        filling: what stands where a feature is missing, `(features,)`.
    """

    filling: NDArray[np.float64]

    @classmethod
    def of(cls, rows: NDArray[np.float64]) -> "Numbers":
        """Return the form of an array.

        Raises:
            ValueError: if a feature has no values.
        """
        empty = np.isnan(rows)
        if empty.all(0).any():
            place = int(empty.all(0).argmax())
            raise ValueError(f"feature {place} of X is missing in all rows; leave it out")
        # A value that occurs, and so is one of the support.
        known = rows if not empty.any() else np.where(empty, np.inf, rows)
        middle = np.sort(known, axis=0)[((~empty).sum(0) - 1) // 2, np.arange(rows.shape[1])]
        return cls(middle)

    def __len__(self) -> int:
        return len(self.filling)

    def name(self, place: int) -> str:
        """Return the number of a feature."""
        return f"feature {place}"

    def encode(self, rows: Any) -> tuple[Tensor, Tensor]:
        """Return the numbers, and which of them are known, `(data, features)` each."""
        empty = np.isnan(rows)
        filled = np.where(empty, self.filling, rows)
        return torch.from_numpy(filled), torch.from_numpy((~empty).astype(np.float64))

    def decode(self, x: Tensor) -> NDArray[np.float64]:
        """Return the numbers as an array."""
        rows: NDArray[np.float64] = x.double().numpy()
        return rows

    def support(self, x: Tensor) -> constraints.Constraint:
        """Return the support as it is found in the values of all features together."""
        support = support_of(x, [], by_column=True)
        scaled = support is constraints.unit_interval and _is_scaled(x)
        return constraints.real if scaled else support


@dataclass(frozen=True)
class Table(Form):
    """Frames whose columns are of any kinds.

    Args:
        schema: what the columns hold.
        names: the names of all columns, in their order.
        frame_library: the name of the library of the frames.
    """

    schema: Schema
    names: tuple[str, ...]
    frame_library: str

    def __len__(self) -> int:
        return len(self.schema.columns)

    def name(self, place: int) -> str:
        """Return the name of the column that a feature stands for."""
        return f"column {self.schema.features[place].name!r}"

    def encode(self, rows: Any) -> tuple[Tensor, Tensor]:
        """Return the numbers, and which of them are known, `(data, features)` each."""
        if isinstance(rows, np.ndarray):
            return self.schema.encode(dict(zip(self.names, rows.T, strict=True)))
        return self.schema.encode(as_frame(rows, "X")[0])

    def decode(self, x: Tensor) -> Any:
        """Return a frame of the library that the estimator was fitted to a frame of."""
        cells = {
            name: column.tolist() if column.dtype == object else column
            for name, column in self.schema.decode(x).items()
        }
        backend: Any = self.frame_library
        return narwhals.from_dict(cells, backend=backend).to_native()

    def support(self, x: Tensor) -> constraints.Constraint:
        """Return the supports of the schema's columns."""
        return self.schema.support


def is_frame(rows: Any) -> bool:
    """Tell whether rows are a frame of pandas, polars or another library.

    Example:
        >>> import pandas
        >>> is_frame(pandas.DataFrame({"size": [1.0]})), is_frame(np.zeros((1, 1)))
        (True, False)
    """
    return hasattr(rows, "columns") and hasattr(rows, "shape")


def library_of(frame: Any) -> str:
    """Return the name of a frame's library.

    Example:
        >>> import pandas
        >>> library_of(pandas.DataFrame({"size": [1.0]}))
        'pandas'
    """
    return type(frame).__module__.partition(".")[0]


def _is_scaled(x: Tensor) -> bool:
    """Tell whether features were brought to [0, 1] by their lowest and highest values.

    Then 0 and 1 are no bounds: those of other rows may lie outside.
    """
    ends = (x.amin(0) == 0) & ((x.amax(0) - 1).abs() < _ROUNDING)
    piled = ((x == 0) | (x == 1)).sum()
    return bool(ends.all()) and int(piled) <= 2 * x.shape[1] + _PILED * x.numel()
