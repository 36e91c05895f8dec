"""New rows of the same kind as a dataset's: read by its schema, or as its arrays are read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data.dataset import Dataset
from ppvae.data.numpy_files import read_npy, read_npz
from ppvae.data.pictures import read_pictures
from ppvae.data.splitting import check_support
from ppvae.data.table import row_names
from ppvae.data.tabular.cells import codes_of
from ppvae.data.tabular.reading import is_table_file, read


@dataclass(frozen=True)
class NewValues:
    """Rows that were read.

    Args:
        x: the rows, `(data, *event)`; where a number is not known stands one of the support.
        seen: which numbers are known, 1 or 0, likewise.
        codes: the number of each row's class, -1 if it is none of the dataset's, `(data,)`; None
            where classes are not known.
        names: the name of each row; empty where they have none.
    """

    x: Tensor
    seen: Tensor
    codes: Tensor | None = None
    names: tuple[str, ...] = ()


def values_like(dataset: Dataset, source: Any) -> NewValues:
    """Read rows of the same kind as a dataset's.

    A table is read by the dataset's schema: the order of its columns does not matter, and it may
    have others. For other datasets the source is a file `.npy`, `.npz` or a table of numbers, a
    folder of pictures, or an array `(data, *)`.

    Args:
        dataset: the dataset.
        source: a file, "-" for a table on the standard input, a frame, or an array.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the source does not fit the dataset; the message says where.

    Example:
        >>> from ppvae import data
        >>> sizes = np.linspace(1, 9, 40) ** 0.5
        >>> cars = data.table({"size": sizes, "color": ["red", "blue"] * 20})
        >>> values_like(cars, {"color": ["red"], "size": [2.0]}).x.tolist()
        [[2.0, 1.0]]
    """
    schema = dataset.schema
    if schema is not None:
        table = read(source)
        x, seen = schema.encode(table.frame)
        codes = None
        if schema.label is not None and schema.label in table.frame:
            codes = torch.from_numpy(codes_of(table.frame[schema.label], schema.labels))
        named = schema.id is None or schema.id in table.frame
        return NewValues(x, seen, codes, row_names(table, schema) if named else ())
    names: tuple[str, ...] = ()
    labels: NDArray[Any] | None = None
    if isinstance(source, str | Path) and Path(source).is_dir():
        x, names = read_pictures(source, *_picture_shape(dataset))
    else:
        values, labels = _numbers(dataset, source)
        x = torch.as_tensor(np.ascontiguousarray(values)).to(dataset.train.dtype).flatten(1)
    if x.shape[1] != dataset.event_shape.numel():
        raise ValueError(
            f"{_shown(source)} has {x.shape[1]} values a row; expected "
            f"{dataset.event_shape.numel()} as {dataset.name} has"
        )
    x = x.reshape(len(x), *dataset.event_shape)
    seen = torch.isfinite(x).to(x.dtype)
    x = torch.where(seen > 0, x, dataset.train[0])
    check_support(_shown(source), x, dataset.support)
    return NewValues(x, seen, None if labels is None else torch.as_tensor(labels), names)


def _numbers(dataset: Dataset, source: Any) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return the numbers of a file or array, `(data, *)`, and labels if it holds them."""
    if isinstance(source, Tensor | np.ndarray):
        return np.asarray(source), None
    path = Path(source) if isinstance(source, str | Path) else None
    if path is not None and path.suffix == ".npz":
        return read_npz(path)
    if path is not None and path.suffix == ".npy":
        return read_npy(path), None
    if path is not None and str(path) != "-" and not is_table_file(path):
        path.stat()  # the system says if there is none
        raise ValueError(f"{path}: expected .npy, .npz, a table of numbers, or a folder")
    frame = read(source).frame
    columns = dataset.columns
    names = columns if columns and set(columns) <= frame.keys() else tuple(frame)
    for name in names:
        if frame[name].dtype.kind not in "biuf":
            raise ValueError(f"column {name!r} of {_shown(source)} holds text; expected numbers")
    return np.stack([frame[name].astype(np.float64) for name in names], axis=1), None


def _picture_shape(dataset: Dataset) -> tuple[tuple[int, int], bool]:
    """Return height and width of a dataset's pictures, and whether they have colors."""
    if dataset.image_shape is None:
        raise ValueError(f"{dataset.name} holds no pictures; pass a file instead of a folder")
    height, width = dataset.image_shape
    return (height, width), dataset.event_shape.numel() > height * width


def _shown(source: Any) -> str:
    if isinstance(source, str | Path):
        return "the standard input" if str(source) == "-" else str(source)
    return "the data"
