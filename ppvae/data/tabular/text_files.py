"""Reads tables from files of text."""

import bz2
import gzip
import io
import lzma
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from ppvae.data.files import DamagedFile, Unpacked, check_memory, reading
from ppvae.data.headers import is_number, names_columns
from ppvae.data.tabular.cells import Frame
from ppvae.data.tabular.frames import as_frame, unique_names
from ppvae.data.tabular.text_layout import Layout, layout_of

ENDINGS = (".csv", ".tsv", ".txt", ".tab", ".dat")
"""The endings of files of text, in small letters; `.gz`, `.bz2` and `.xz` may follow."""

_PACKED = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_HEAD = 2**18  # bytes by which a file is judged
_PER_BYTE = 8  # bytes of memory for one of a table of one-digit numbers
_MISSING = ("?", "-", "--", ".", "..", "N.A.", "n.a.", "NA ", "missing", "Missing")
_OPEN_QUOTE = re.compile(r"EOF inside string starting at row (\d+)")
_TOO_MANY = re.compile(r"Expected (\d+) fields in line (\d+), saw (\d+)")


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
        check_memory(path, _PER_BYTE * path.stat().st_size, "take fewer rows")
    with reading(path), _opened(path, content) as file:
        head = file.read(_HEAD)
    layout = layout_of(path, head, whole=len(head) < _HEAD)
    rows, notes = _filled(layout.rows), []
    if header is None:
        header, note = names_columns(path, rows)
        notes += [note] if note else _numbers_among_names(path, rows[0], header)
    if header and len(rows) == 1:
        raise ValueError(f"{path} holds names of columns and no rows; expected rows below them")
    notes += _notes(path, layout)
    names = unique_names([field.strip() for field in rows[0]]) if header else None
    if names is not None:
        notes += _doubles(path, rows[0], names)
    count = len(rows[0])
    options: dict[str, Any] = {
        "sep": layout.separator,
        "decimal": layout.signs[0],
        "thousands": layout.signs[1],
        "quotechar": layout.quote,
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
            try:
                return pandas.read_csv(file, encoding=encoding, **options)
            except pandas.errors.ParserError as error:
                raise DamagedFile(path, _in_words(str(error))) from error

    with reading(path):
        try:
            table = parsed(layout.encoding)
        except UnicodeDecodeError:  # below the first part
            notes.append(_as_latin(path))
            table = parsed("cp1252")
    if header:
        table = table.iloc[:, :count]
    return as_frame(table, f"{path}")[0], notes


def _filled(rows: Sequence[list[str]]) -> list[list[str]]:
    """Return rows that are as long as the first, which none exceeds."""
    return [row + [""] * (len(rows[0]) - len(row)) for row in rows]


def _notes(path: Path, layout: Layout) -> Iterator[str]:
    """Say how a text is read where that is not as everybody would."""
    if layout.encoding == "cp1252":
        yield _as_latin(path)
    if layout.title:
        shown = layout.title if len(layout.title) < 50 else f"{layout.title[:50]}..."
        yield f"{path}: {layout.skipped} line(s) above the table were left out, such as {shown!r}"
    if layout.comment:
        yield f"{path}: what follows {layout.comment!r} was left out as a comment"
    decimal, thousands = layout.signs
    if decimal == ",":
        yield f"{path}: its numbers were read with decimal commas"
    if thousands:
        what = "commas" if thousands == "," else "points"
        yield f"{path}: {what} in its numbers were read as those of thousands"
    present = {field.strip() for row in layout.rows for field in row}
    tokens = [token for token in _MISSING if token.strip() in present and token == token.strip()]
    if tokens:
        yield f"{path}: cells {', '.join(map(repr, tokens))} were taken as missing"
    if layout.short_rows:
        more = ", ..." if len(layout.short_rows) > 1 else ""
        yield (
            f"{path}: {len(layout.short_rows)} row(s) have fewer fields than the first, row "
            f"{layout.short_rows[0]}{more}; what they lack was taken as missing"
        )


def _numbers_among_names(path: Path, first: Sequence[str], header: bool) -> list[str]:
    numbers = [field for field in first if is_number(field)]
    if not header or not numbers:
        return []
    return [
        f"{path}: its first row, {', '.join(first):.60}, was taken as the names of the columns; "
        "header=False makes it a datapoint"
    ]


def _doubles(path: Path, given: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    for field, name in zip(given, names, strict=True):
        if field.strip() and field.strip() != name:
            yield f"{path}: several columns are called {field.strip()!r}; one became {name!r}"


def _as_latin(path: Path) -> str:
    return f"{path}: it is not in UTF-8, and was read as Windows-1252 (Latin)"


def _in_words(message: str) -> str:
    """Return what pandas says of a damaged text, and what to do."""
    if found := _OPEN_QUOTE.search(message):
        return (
            f"text in quotation marks that begins in row {int(found[1]) + 1} does not end; add "
            "the mark at its end, or remove the first"
        )
    if found := _TOO_MANY.search(message):
        return (
            f"line {found[2]} has {found[3]} fields where {found[1]} are expected; give each row "
            "as many, and put text that holds a separator in quotation marks"
        )
    return message


def _ending(path: Path) -> str:
    name = Path(path.name.lower())
    return Path(name.stem).suffix if name.suffix in _PACKED else name.suffix


def _opened(path: Path, content: bytes | None) -> IO[bytes]:
    if content is not None:
        return io.BytesIO(content)
    opener = _PACKED.get(path.suffix.lower())
    if opener is None:
        return path.open("rb")
    packed: IO[bytes] = opener(path, "rb")  # type: ignore[operator]  # one of several kinds
    return io.BufferedReader(Unpacked(path, packed, _PER_BYTE))
