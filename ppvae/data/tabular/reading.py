"""Reads a table from wherever it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ppvae.data.files import check_plain
from ppvae.data.tabular.cells import Cells, Frame
from ppvae.data.tabular.frames import FRAME_FILES, as_frame, read_frame_file
from ppvae.data.tabular.signs import without_signs
from ppvae.data.tabular.text_files import ENDINGS, is_text_file, read_text


@dataclass(frozen=True)
class Source:
    """A table that was read.

    Args:
        name: what to call it.
        frame: its columns by name.
        rows: the names of its rows, if it has any.
        notes: what was decided in reading it, one sentence each.
    """

    name: str
    frame: Frame
    rows: Cells | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.frame.values())))


def is_table_file(path: str | Path) -> bool:
    """Tell by its name whether a file holds a table.

    Example:
        >>> is_table_file("wine.csv.gz"), is_table_file("wine.parquet"), is_table_file("wine.npy")
        (True, True, False)
    """
    path = Path(path)
    return is_text_file(path) or path.suffix.lower() in FRAME_FILES


def read(source: Any, *, header: bool | None = None, missing: Sequence[Any] = ()) -> Source:
    """Read a table: a file, the standard input ("-") or a frame.

    Args:
        source: a path, or what `as_frame` takes.
        header: whether the first row of a text file names its columns; found out if none.
        missing: what stands for a missing cell besides the usual.

    Raises:
        FileNotFoundError: if there is no such file.
        TypeError: if the source is no table.
        ValueError: if a file is damaged or of another kind.
    """
    if not isinstance(source, str | Path):
        frame, rows = as_frame(source, "the table")
        frame, signs = without_signs(frame)
        return Source("table", frame, rows, tuple(signs))
    path = Path(source)
    if str(path) != "-":
        check_plain(path)
        if not is_table_file(path):
            raise ValueError(
                f"{path} ends in {path.suffix!r}; expected a table: {', '.join(ENDINGS)}, also "
                f"with .gz, .bz2 or .xz, or {', '.join(FRAME_FILES)}"
            )
    if path.suffix.lower() in FRAME_FILES:
        frame, rows = read_frame_file(path)
        frame, signs = without_signs(frame)
        return Source(path.stem, frame, rows, tuple(signs))
    texts = [str(value) for value in missing]
    frame, notes = read_text(path, header, texts)
    frame, signs = without_signs(frame)
    notes += signs
    name = "table" if str(path) == "-" else path.name.partition(".")[0] or path.stem
    return Source(name, _without_row_names(path, frame, notes), None, tuple(notes))


def _without_row_names(path: Path, frame: Frame, notes: list[str]) -> Frame:
    """Leave out a first column without a name that counts the rows, as pandas writes it."""
    name, cells = next(iter(frame.items()))
    if len(frame) < 2 or cells.dtype.kind not in "iu" or len(cells) < 2:
        return frame
    counting = cells[0] in (0, 1) and bool((np.diff(cells) == 1).all())
    if counting and (name in ("column 1", "0") or name.startswith("Unnamed: 0")):
        notes.append(f"{path}: its first column counts the rows, and was left out")
        return {other: values for other, values in frame.items() if other != name}
    return frame
