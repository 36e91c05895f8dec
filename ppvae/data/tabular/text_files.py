"""Text files of tables: their separators, encodings and first rows."""

import bz2
import codecs
import csv
import gzip
import io
import itertools
import lzma
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ppvae.data.files import DamagedFile, check_memory, reading
from ppvae.data.headers import names_columns
from ppvae.data.tabular.columns import Frame
from ppvae.data.tabular.frames import as_frame, unique_names

ENDINGS = (".csv", ".tsv", ".txt", ".tab", ".dat")
"""The endings of files of text, in small letters; `.gz`, `.bz2` and `.xz` may follow."""

_PACKED = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_HEAD = 2**18  # bytes by which a file is judged
_ROWS = 1001  # rows by which it is judged
_PREAMBLE = 20  # lines above the table at most
_PER_BYTE = 8  # bytes of memory for one of a table of one-digit numbers
_ENOUGH = 0.95  # share of rows with as many fields as most
_SEPARATORS = {"\t": "tabs", ";": "';'", "|": "'|'", ",": "commas"}
_SPACES = r"\s+"
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
_MISSING = ("?", "-", "--", ".", "..", "N.A.", "n.a.", "NA ", "missing", "Missing")
_PLAIN = (".gz", ".bz2", ".xz")


@dataclass(frozen=True)
class _Layout:
    """How a text is to be read.

    Args:
        encoding: of its bytes.
        separator: between fields.
        skipped: lines above the table.
        rows: the first rows of the table, each a list of fields.
        comment: what begins lines that are left out, if there are any.
        hashed: whether the line of names begins with "#".
    """

    encoding: str
    separator: str
    skipped: int
    rows: list[list[str]]
    comment: str | None
    hashed: bool

    @property
    def signs(self) -> tuple[str, str | None]:
        """The decimal sign, and what separates thousands, if anything does."""
        fields = [field.strip() for row in self.rows for field in row if "," in field]
        numbers = [f for f in fields if _DECIMAL_COMMA.fullmatch(f) or _THOUSANDS.fullmatch(f)]
        if not numbers:
            return ".", None
        if all(_THOUSANDS.fullmatch(f) for f in numbers):
            points = any("." in f or f.count(",") > 1 for f in numbers)
            if points or self.separator == "," or self._points:
                return ".", ","
        return (".", None) if self.separator == "," or self._points else (",", None)

    @property
    def _points(self) -> bool:
        return any(_DECIMAL_POINT.fullmatch(field.strip()) for row in self.rows for field in row)


def is_text_file(path: Path) -> bool:
    """Tell whether a file is one of text, by its name.

    Example:
        >>> is_text_file(Path("a.CSV")), is_text_file(Path("a.tsv.gz")), is_text_file(Path("a.gz"))
        (True, True, False)
    """
    return _ending(path) in ENDINGS


def read_text(path: Path, header: bool | None, missing: Sequence[str]) -> tuple[Frame, list[str]]:
    """Read a table of text; return its columns and what was decided.

    Args:
        path: the file, or "-" for the standard input.
        header: whether the first row names the columns; found out if none.
        missing: what stands for a missing cell besides the usual.

    Raises:
        ValueError: if the file is damaged or no table.
    """
    import pandas

    if str(path) == "-":
        content: bytes | None = sys.stdin.buffer.read()
    else:
        content = None
        factor = 10 if path.suffix.lower() in _PACKED else 1
        check_memory(path, factor * _PER_BYTE * path.stat().st_size, "take fewer rows")
    layout = _layout(path, _head(path, content))
    rows, notes = layout.rows, []
    if header is None:
        header, note = names_columns(path, rows)
        notes += [note] if note else []
    if header and len(rows) == 1:
        raise ValueError(f"{path} holds names of columns and no rows; expected rows below them")
    notes += _notes(path, layout)
    names = unique_names([field.strip() for field in rows[0]]) if header else None
    count = len(rows[0])
    options: dict[str, Any] = {
        "sep": layout.separator,
        "decimal": layout.signs[0],
        "thousands": layout.signs[1],
        "skiprows": layout.skipped + bool(header),
        "header": None,
        "names": names or [str(number) for number in range(count)],
        "index_col": False,
        "low_memory": False,
        "na_values": [*_MISSING, *missing],
        "comment": layout.comment,
        "skipinitialspace": True,
        "skip_blank_lines": True,
    }

    def parsed(encoding: str) -> Any:
        with _opened(path, content) as file:
            return pandas.read_csv(file, encoding=encoding, **options)

    with reading(path):
        try:
            table = parsed(layout.encoding)
        except UnicodeDecodeError:  # below the first part
            notes.append(_as_latin(path))
            table = parsed("cp1252")
    if header:
        table = table.iloc[:, :count]
    return as_frame(table, f"{path}")[0], notes


def _notes(path: Path, layout: _Layout) -> list[str]:
    notes = []
    if layout.encoding == "cp1252":
        notes.append(_as_latin(path))
    if layout.skipped:
        notes.append(f"{path}: {layout.skipped} line(s) above the table were left out")
    if layout.comment:
        notes.append(f"{path}: what follows {layout.comment!r} was left out as a comment")
    if layout.signs[0] == ",":
        notes.append(f"{path}: its numbers were read with decimal commas")
    if layout.signs[1]:
        notes.append(f"{path}: commas in its numbers were read as those of thousands")
    return notes


def _as_latin(path: Path) -> str:
    return f"{path}: it is not in UTF-8, and was read as Windows-1252 (Latin)"


def _ending(path: Path) -> str:
    name = Path(path.name.lower())
    return Path(name.stem).suffix if name.suffix in _PLAIN else name.suffix


def _opened(path: Path, content: bytes | None) -> IO[bytes]:
    if content is not None:
        return io.BytesIO(content)
    opener = _PACKED.get(path.suffix.lower(), open)
    return opener(path, "rb")  # type: ignore[operator,no-any-return]  # one of several kinds


def _head(path: Path, content: bytes | None) -> bytes:
    with reading(path), _opened(path, content) as file:
        return file.read(_HEAD)


def _layout(path: Path, head: bytes) -> _Layout:
    encoding, text = _decoded(path, head)
    if not text.strip():
        raise DamagedFile(path, "it holds no rows")
    whole = len(head) < _HEAD
    lines = text.splitlines(keepends=True)
    lines = lines if whole or len(lines) < 2 else lines[:-1]  # the last may be cut off
    skipped = 0
    while skipped < len(lines) and not lines[skipped].strip():
        skipped += 1
    comments = skipped
    while comments < len(lines) and lines[comments].startswith("#"):
        comments += 1
    body = [line for line in lines[comments:] if line.strip()]
    if not body:
        raise DamagedFile(path, "it holds comments and no rows")
    separator = _separator(body)
    hashed = (
        comments - skipped == 1
        and len(_fields([lines[skipped]], separator)[0])
        == len(_fields(body[:1], separator)[0])
        > 1
    )
    if hashed:  # the names themselves begin with "#"
        body = [lines[skipped].removeprefix("#").lstrip(" "), *body]
        comments = skipped
    rows = _fields(body, separator)
    width = Counter(len(row) for row in rows).most_common(1)[0][0]
    above = next((n for n, row in enumerate(rows[:_PREAMBLE]) if len(row) == width), 0)
    skipped = comments
    for _ in range(above):  # empty lines are no rows
        while not lines[skipped].strip():
            skipped += 1
        skipped += 1
    while skipped < len(lines) and not lines[skipped].strip():
        skipped += 1
    rows = rows[above:]
    later = any(row and row[0].startswith("#") for row in rows[1:])
    if later:
        rows = [rows[0], *(row for row in rows[1:] if not row[0].startswith("#"))]
    longer = [(n, row) for n, row in enumerate(rows, 1) if len(row) > len(rows[0])]
    if longer and all(len(row) == len(rows[0]) + 1 for _, row in longer):
        # Names of all columns but the first, as R writes them, or an empty field at each end.
        if len(longer) == len(rows) - 1:
            last = all(not row[-1].strip() for _, row in longer)
            rows = [[*rows[0], ""] if last else ["", *rows[0]], *rows[1:]]
            longer = []
    if longer:
        n, row = longer[0]
        raise DamagedFile(
            path, f"its row {n} has {len(row)} fields where the first has {len(rows[0])}; give "
            "each row as many, and put text that holds a separator in quotation marks"
        )  # fmt: skip
    return _Layout(encoding, separator, skipped, rows[:_ROWS], "#" if later else None, hashed)


def _decoded(path: Path, head: bytes) -> tuple[str, str]:
    """Return the encoding of a text's bytes, and the text."""
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if head.startswith(mark):
            return name, head.decode(name, errors="ignore")
    if b"\0" in head:
        raise DamagedFile(path, "it holds bytes 0, so it is no text; save it as UTF-8")
    try:
        return "utf-8", codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "cp1252", head.decode("cp1252", errors="replace")


def _separator(lines: Sequence[str]) -> str:
    """Return what separates the fields: the first that does so in nearly all rows."""
    for separator in _SEPARATORS:
        widths = Counter(len(row) for row in _fields(lines, separator))
        width, count = widths.most_common(1)[0]
        if width > 1 and count >= _ENOUGH * widths.total() - 1:
            return separator
    widths = Counter(len(line.split()) for line in lines)
    width, count = widths.most_common(1)[0]
    numeric = all(character in "0123456789+-.eE \t\r\n" for character in "".join(lines[1:50]))
    if width > 1 and count == widths.total() and numeric:
        return _SPACES
    return ","


def _fields(lines: Sequence[str], separator: str) -> list[list[str]]:
    """Return the fields of the first rows."""
    if separator == _SPACES:
        return [line.split() for line in lines[:_ROWS]]
    rows = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    try:
        kept = (row for row in rows if len(row) > 1 or any(map(str.strip, row)))
        return list(itertools.islice(kept, _ROWS)) or [[""]]
    except csv.Error:
        return [[line] for line in lines[:_ROWS]]
