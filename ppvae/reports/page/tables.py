"""Tables of a page, whose cells hold texts, numbers and small pictures."""

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

_LONG = 24  # characters from which on a cell is broken into lines

Tone: TypeAlias = Literal["", "fine", "look", "bad", "unknown"]
"""The colour of a text, that of a verdict; the text says the same in words."""


@dataclass(frozen=True)
class Thumbnail:
    """A small picture of one datapoint, in a table.

    Args:
        uri: its bytes as a data URI.
        alternative: what it shows.
        wide: whether it is a curve, and wider than high.
    """

    uri: str
    alternative: str
    wide: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Args:
        text: what it says.
        value: the number that it is sorted by, if it is one.
        tone: its colour.
        thumbnails: pictures before the text.
    """

    text: str
    value: float | None = None
    tone: Tone = ""
    thumbnails: tuple[Thumbnail, ...] = ()

    @property
    def long(self) -> bool:
        """Whether it is a sentence, which is broken into lines."""
        return len(self.text) > _LONG


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row is its name.

    Args:
        caption: what it shows.
        columns: the names of the columns.
        rows: the cells of each row, as many as there are columns.
        note: what to know of it, below.
        sortable: whether a reader may sort it.

    Raises:
        ValueError: if a row has another number of cells.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    sortable: bool = True
    kind: ClassVar[str] = "table"

    def __post_init__(self) -> None:
        lengths = {len(row) for row in self.rows} - {len(self.columns)}
        if lengths:
            raise ValueError(f"a row has {lengths} cells, the table {len(self.columns)} columns")

    def is_number(self, column: int) -> bool:
        """Tell whether the cells of a column are numbers, which stand on the right."""
        values = [row[column].value for row in self.rows if row[column].text not in ("", "-")]
        return bool(values) and all(value is not None for value in values)
