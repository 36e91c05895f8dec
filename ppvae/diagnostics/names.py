"""What the rows, columns and classes of data are called, in results and warnings."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data import Dataset
from ppvae.engine import Batch

T = TypeVar("T", xr.Dataset, xr.DataArray)


@dataclass(frozen=True)
class Names:
    """What the datapoints and features of some data are called; nothing where that is not known.

    Args:
        rows: the number of each datapoint in the file or array that it comes from.
        row_names: the name of each datapoint.
        labels: the name of each datapoint's class.
        columns: the name of each feature.

    Example:
        >>> names = Names(np.array([7, 3]), ("a", "b"), columns=("height", "weight"))
        >>> named = names.on(xr.Dataset({"x": (("data", "x_dim_0"), np.zeros((2, 2)))}), ["x"])
        >>> named.x.sel(data=3, x_dim_0="weight").row_name.item()
        'b'
        >>> names.shown([1, 0])
        '3 (b), 7 (a)'
    """

    rows: NDArray[np.int64] | None = None
    row_names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    @property
    def _of_rows(self) -> dict[str, Sequence[object] | NDArray[np.int64]]:
        known = {"data": self.rows, "row_name": self.row_names, "label": self.labels}
        return {name: each for name, each in known.items() if each is not None and len(each)}

    def at(self, rows: Iterable[int]) -> "Names":
        """Return the names of some datapoints, by their places."""
        places = np.asarray(rows, dtype=np.int64)
        chosen = places if self.rows is None else self.rows[places]
        row_names, labels = (
            tuple(each[place] for place in places) if each else ()
            for each in (self.row_names, self.labels)
        )
        return Names(chosen, row_names, labels, self.columns)

    def shown(self, places: Iterable[int]) -> str:
        """Return datapoints as text, by their places: their row numbers, and names if any."""
        texts = []
        for place in places:
            number = place if self.rows is None else self.rows[place]
            texts.append(f"{number} ({self.row_names[place]})" if self.row_names else str(number))
        return ", ".join(texts)

    def on(self, result: T, observed: Iterable[str] = ()) -> T:
        """Return a result with names as coordinates.

        Its dim `data` gets the row numbers, and the names of rows and classes as further
        coordinates; the dim of the features of an observed site gets the names of the columns.

        Args:
            result: what was measured.
            observed: the observed sites among its variables.
        """
        coords: dict[str, object] = {}
        for name, values in self._of_rows.items():
            if result.sizes.get("data") == len(values):
                array = np.asarray(values)
                coords[name] = ("data", array if array.dtype.kind == "i" else array.astype(str))
        for dim in (f"{site}_dim_0" for site in observed):
            if self.columns and result.sizes.get(dim) == len(self.columns):
                coords[dim] = np.asarray(self.columns, dtype=str)
        return result.assign_coords(coords) if coords else result


class NamedBatch(tuple[Tensor, ...]):
    """A batch that knows what its rows are called.

    Args:
        batch: the tensors.
        names: of its rows and features.
    """

    names: Names

    def __new__(cls, batch: Batch, names: Names) -> "NamedBatch":
        """Return the batch with the names."""
        named = super().__new__(cls, batch)
        named.names = names
        return named


def named_first(batch: Batch, count: int) -> NamedBatch:
    """Return the first datapoints of a batch, with their names."""
    rows = tuple(tensor[:count] for tensor in batch)
    return NamedBatch(rows, names_of(batch, "test").at(range(len(rows[0]))))


def names_of(data: object, split: str) -> Names:
    """Return what the rows of a split are called; nothing of data that have no names.

    Example:
        >>> from ppvae import data
        >>> names_of(data.digits(), "test").labels[:3]
        ('2', '3', '1')
    """
    if isinstance(data, NamedBatch):
        return data.names
    if not isinstance(data, Dataset):
        return Names()
    labels: tuple[str, ...] = ()
    if split in data.labels:
        labels = tuple(class_name(data, int(number)) for number in data.labels[split])
    rows = data.row_numbers(split).cpu().numpy()
    return Names(rows, tuple(data.row_names.get(split, ())), labels, data.columns)


def named_batch(dataset: Dataset, split: str) -> NamedBatch:
    """Return what a pair is called with for a split, with the names of its rows."""
    return NamedBatch(dataset.batch(split), names_of(dataset, split))


def class_name(dataset: Dataset, number: int) -> str:
    """Return the name of a class, or its number where it has none."""
    names = dataset.label_names
    return names[number] if 0 <= number < len(names) else str(number)
