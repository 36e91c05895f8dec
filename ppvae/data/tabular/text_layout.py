"""How a text holds a table: its encoding, separators, quotation marks and first rows."""

import codecs
import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ppvae.data.files import DamagedFile
from ppvae.data.headers import is_number

SPACES = r"\s+"
"""The separator of columns that are aligned by spaces."""

_ROWS = 1001  # rows by which a text is judged
_PREAMBLE = 20  # lines above the table at most
_ENOUGH = 0.95  # share of rows with as many fields as most
_SEPARATORS = ("\t", ";", "|", ",")
_SAID = re.compile(r"\"?sep=(.)\"?\s*")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+")
_COMMA_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
_POINT_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d+)?")
_DIGITS = re.compile(r"[+-]?\d[\d.]*\.[\d.]*")
_OTHER_FORMATS = (
    (b"PK\x03\x04", "it is a zip archive or an Excel file; unpack it, or name it .xlsx"),
    (b"\x1f\x8b", "it is compressed by gzip; give its name the ending .gz"),
    (b"BZh", "it is compressed by bzip2; give its name the ending .bz2"),
    (b"PAR1", "it is in the format Parquet; give its name the ending .parquet"),
    (b"%PDF", "it is in the format PDF; save its table as text"),
    (b"\x89HDF", "it is in the format HDF5; save its table as text"),
)


@dataclass(frozen=True)
class Layout:
    """How a text is to be read.

    Args:
        encoding: of its bytes.
        separator: between fields.
        quote: what stands around a field that holds a separator.
        skipped: how many lines stand above the table.
        title: the first of them that says something, if one does.
        rows: the first rows of the table, each a list of fields.
        comment: what begins lines that are left out, if there are any.
    """

    encoding: str
    separator: str
    quote: str
    skipped: int
    title: str
    rows: list[list[str]]
    comment: str | None

    @property
    def signs(self) -> tuple[str, str | None]:
        """The decimal sign, and what separates thousands, if anything does."""
        fields = [field.strip() for row in self.rows for field in row]
        commas = [f for f in fields if "," in f and _is_number_of_commas(f)]
        points = [f for f in fields if _DECIMAL_POINT.fullmatch(f)]
        if not commas:
            return ".", None
        if self.separator == ",":
            return ".", "," if all(map(_COMMA_THOUSANDS.fullmatch, commas)) else None
        if all(map(_COMMA_THOUSANDS.fullmatch, commas)):
            sure = any("." in f or f.count(",") > 1 for f in commas)
            return (".", ",") if sure or points else (",", None)
        if not all(map(_POINT_THOUSANDS.fullmatch, points)):
            return ".", None
        pointed = [f for f in fields if "." in f and (_DIGITS.fullmatch(f) or "," in f)]
        by_points = all(map(_POINT_THOUSANDS.fullmatch, pointed))  # and none is a date
        return ",", "." if pointed and by_points else None

    @property
    def short_rows(self) -> list[int]:
        """The numbers of rows with fewer fields than the first, from 1."""
        width = len(self.rows[0])
        return [number for number, row in enumerate(self.rows, 1) if len(row) < width]


def layout_of(path: Path, head: bytes, whole: bool) -> Layout:
    """Find out how a text holds a table.

    Args:
        path: the file, for messages.
        head: its first bytes.
        whole: whether these are all.

    Raises:
        ValueError: if it holds no table.
    """
    encoding, text = _decoded(path, head)
    if not text.strip():
        raise DamagedFile(path, "it holds no rows")
    _refuse_formats(path, text.lstrip())
    lines = io.StringIO(text, newline="").readlines()
    lines = lines if whole or len(lines) < 2 else lines[:-1]  # the last may be cut off
    said = _SAID.fullmatch(lines[0])
    skipped = _blank(lines, 1 if said else 0)
    comments = skipped
    while comments < len(lines) and lines[comments].startswith("#"):
        comments += 1
    body = [line for line in lines[comments:] if line.strip()]
    if not body:
        raise DamagedFile(path, "it holds comments and no rows")
    separator = said[1] if said else _separator(body)
    if comments - skipped == 1 and _name_columns(lines[skipped], body, separator):
        body = [lines[skipped].removeprefix("#").lstrip(" "), *body]  # they begin with "#"
        comments = skipped
    quote = _quote(body, separator)
    rows = _fields(body, separator, quote)
    start, rows = _without_preamble(rows)
    skipped = comments
    for _ in range(start):  # empty lines are no rows
        skipped = _blank(lines, skipped) + 1
    skipped = _blank(lines, skipped)
    later = any(row and row[0].startswith("#") for row in rows[1:])
    if later:
        rows = [rows[0], *(row for row in rows[1:] if not row[0].startswith("#"))]
    rows = _of_one_width(path, rows)
    title = next((line.strip() for line in lines[bool(said) : skipped] if line.strip()), "")
    return Layout(encoding, separator, quote, skipped, title, rows, "#" if later else None)


def _blank(lines: Sequence[str], start: int) -> int:
    """Return the number of the first line from some on that is not empty."""
    while start < len(lines) and not lines[start].strip():
        start += 1
    return start


def _decoded(path: Path, head: bytes) -> tuple[str, str]:
    """Return the encoding of a text's bytes, and the text."""
    for signature, what in _OTHER_FORMATS:
        if head.startswith(signature):
            raise DamagedFile(path, what)
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


def _refuse_formats(path: Path, text: str) -> None:
    if re.match(r"<[!?a-zA-Z]", text):
        raise DamagedFile(path, "it holds HTML or XML; save its table as text with separators")
    if re.match(r"\{\s*[\"}]|\[\s*[\[{]", text):
        raise DamagedFile(
            path, f"it holds JSON; pandas.read_json({path.name!r}).to_csv('new.csv', index=False)"
        )  # fmt: skip


def _name_columns(line: str, body: Sequence[str], separator: str) -> bool:
    """Tell whether a line that begins with "#" names the columns below it."""
    names, first = _fields([line], separator)[0], _fields(body[:1], separator)[0]
    return len(names) == len(first) > 1


def _without_preamble(rows: list[list[str]]) -> tuple[int, list[list[str]]]:
    """Return how many rows stand above the table, and the rows from its first on."""
    width = Counter(len(row) for row in rows).most_common(1)[0][0]

    def begins(row: Sequence[str]) -> bool:
        return len(row) == width and (width < 3 or sum(map(bool, map(str.strip, row))) > 1)

    start = next((n for n, row in enumerate(rows[:_PREAMBLE]) if begins(row)), 0)
    if start and any(map(is_number, rows[start])):
        names = [field.strip() for field in rows[start - 1]]
        while names and not names[-1]:  # a separator more than below
            names.pop()
        if all(names) and not any(map(is_number, names)):
            if len(names) == width:
                return start - 1, [names, *rows[start:]]
            if len(names) == width - 1 > 1:  # of all columns but the first, as R writes them
                return start - 1, [["", *names], *rows[start:]]
    return start, rows[start:]


def _of_one_width(path: Path, rows: list[list[str]]) -> list[list[str]]:
    """Return rows of which none has more fields than the first."""
    longer = [(n, row) for n, row in enumerate(rows, 1) if len(row) > len(rows[0])]
    if not longer:
        return rows
    if len(longer) == len(rows) - 1 and all(len(r) == len(rows[0]) + 1 for _, r in longer):
        # Names of all columns but the first, as R writes them, or an empty field at each end.
        last = all(not row[-1].strip() for _, row in longer)
        return [[*rows[0], ""] if last else ["", *rows[0]], *rows[1:]]
    n, row = longer[0]
    raise DamagedFile(
        path, f"its row {n} has {len(row)} fields where the first has {len(rows[0])}; give each "
        "row as many, and put text that holds a separator in quotation marks"
    )  # fmt: skip


def _separator(lines: Sequence[str]) -> str:
    """Return what separates the fields: the first that does so in nearly all rows."""
    for separator in _SEPARATORS:
        widths = Counter(len(row) for row in _fields(lines, separator))
        width, count = widths.most_common(1)[0]
        if width > 1 and count >= _ENOUGH * widths.total() - 1:
            return separator
    rows = _fields(lines, SPACES)
    below = rows[1:] or rows
    width = len(below[0])
    if width > 1 and all(len(row) == width for row in below) and width - len(rows[0]) in (0, 1):
        columns = zip(*below, strict=True)
        if any(sum(map(is_number, column)) > 0.5 * len(below) for column in columns):
            return SPACES
    return ","


def _quote(lines: Sequence[str], separator: str) -> str:
    """Return what stands around fields: single quotes only if all names stand in them."""
    first = [field.strip() for field in _fields(lines[:1], separator)[0]]
    single = all(len(f) > 1 and f[0] == f[-1] == "'" for f in first)
    return "'" if single else '"'


def _fields(lines: Sequence[str], separator: str, quote: str = '"') -> list[list[str]]:
    """Return the fields of the first rows."""
    if separator == SPACES:
        lines = [" ".join(line.split()) for line in lines[:_ROWS]]
    delimiter = " " if separator == SPACES else separator
    rows = csv.reader(lines, delimiter=delimiter, quotechar=quote, skipinitialspace=True)
    try:
        kept = (row for row in rows if len(row) > 1 or any(map(str.strip, row)))
        return list(itertools.islice(kept, _ROWS)) or [[""]]
    except csv.Error:
        return [[line] for line in lines[:_ROWS]]


def _is_number_of_commas(field: str) -> bool:
    kinds = (_DECIMAL_COMMA, _COMMA_THOUSANDS, _POINT_THOUSANDS)
    return any(kind.fullmatch(field) for kind in kinds)
