"""The cells of a column, and which of them are missing or alike."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Cells: TypeAlias = NDArray[Any]
"""The cells of a column, `(data,)`, of any type."""

Frame: TypeAlias = dict[str, Cells]
"""Columns by name, all of the same number of rows."""


def is_missing(cells: Cells, missing: tuple[Any, ...] = ()) -> NDArray[np.bool_]:
    """Tell which cells are missing, `(data,)`."""
    import pandas

    empty: NDArray[np.bool_] = np.asarray(pandas.isna(cells))
    for value in missing:
        empty = empty | np.asarray(cells == value, dtype=bool)
    return empty


def distinct_cells(cells: Cells) -> tuple[NDArray[np.int64], Cells]:
    """Return the different cells that are not missing, and the place of each cell among them.

    What has to be found out of texts is found out of each but once. The place of a missing cell
    is -1.
    """
    import pandas

    places, distinct = pandas.factorize(np.asarray(cells, dtype=object))
    return places, np.asarray(distinct, dtype=object)


def codes_of(cells: Cells, levels: tuple[Any, ...]) -> NDArray[np.int64]:
    """Return the number of each cell's level, `(data,)`, -1 where it has none of them.

    Numbers and their texts are one: levels 1 and 2 are those of cells "1" and "2".
    """
    import pandas

    if cells.dtype == object or cells.dtype.kind in "US":
        listed = {_plain(level): code for code, level in enumerate(levels)}
        places, distinct = distinct_cells(cells)
        codes = np.array([*(listed.get(_plain(cell), -1) for cell in distinct), -1], np.int64)
        return codes[places]
    if any(isinstance(level, str) for level in levels):
        return codes_of(cells.astype(object), levels)
    found: NDArray[np.int64] = pandas.Index(np.array(levels)).get_indexer(cells).astype(np.int64)
    return found


def _plain(value: Any) -> str:
    """Return the text that equal numbers have in common, as 1, 1.0 and "1"."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()
