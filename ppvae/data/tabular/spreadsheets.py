"""Checks of spreadsheets `.xlsx`, archives in which a few bytes can stand for very many."""

import zipfile
from pathlib import Path
from typing import IO
from xml.parsers import expat

import numpy as np

from ppvae.data.files import REFLATION, DamagedFile, check_memory, reading

_PER_BYTE = 20  # bytes of memory for one of XML while it is read
_PIECE = 2**16  # bytes parsed at once
_EMPTY = 2**24  # cells without content that are still no mistake


def check_spreadsheet(path: Path) -> None:
    """Refuse a spreadsheet that would take far more memory or time than its content needs.

    Raises:
        ValueError: if it is damaged, unpacks to more than it can hold or the machine can take,
            defines entities, or has a cell so far out that nearly all others are empty.
    """
    with reading(path):
        archive = zipfile.ZipFile(path)
    with archive:
        members = archive.infolist()
        for member in members:
            if member.file_size > REFLATION * (member.compress_size + 1):
                name = repr(member.filename)
                raise DamagedFile(path, f"{name:.60} in it cannot have the size that it states")
        check_memory(path, _PER_BYTE * sum(member.file_size for member in members))
        for member in members:
            with reading(path), archive.open(member) as file:
                sheet = _Sheet(path)
                sheet.read(file)
                sheet.check()


class _Sheet:
    """How many cells a sheet has, and how far out the last one is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells = self.row = self.column = 0
        self.last_row = self.last_column = 0

    def read(self, file: IO[bytes]) -> None:
        """Read a part of the archive; what is no XML, such as a picture, has no cells."""
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._element
        parser.StartDoctypeDeclHandler = self._refuse
        try:
            while piece := file.read(_PIECE):
                parser.Parse(piece)
            parser.Parse(b"", True)
        except expat.ExpatError:
            return  # whoever reads the part says more

    def check(self) -> None:
        """Refuse a sheet of which nearly all cells are empty."""
        spanned = self.last_row * self.last_column
        if spanned > _EMPTY + 100 * self.cells:
            raise DamagedFile(
                self.path,
                f"its sheet spans {self.last_row} rows and {self.last_column} columns, of which "
                f"{self.cells} cells are written; remove the cell that is far out",
            )

    def _refuse(self, name: str, *more: object) -> None:
        raise DamagedFile(
            self.path, f"it defines the document type {name!r:.60}, as no table does"
        )

    def _element(self, name: str, attributes: dict[str, str]) -> None:
        kind = name.rpartition(":")[2]
        if kind == "row":
            self.row = _number(attributes.get("r", ""), self.row + 1)
            self.column = 0
            self.last_row = max(self.last_row, self.row)
        elif kind == "c":
            place = attributes.get("r", "")
            letters = place.rstrip("0123456789")
            self.column = _of_letters(letters) if letters else self.column + 1
            self.last_row = max(self.last_row, _number(place[len(letters) :], self.row))
            self.last_column = max(self.last_column, self.column)
            self.cells += 1


def _number(digits: str, otherwise: int) -> int:
    try:
        return int(digits)  # as whoever reads the sheet takes them
    except ValueError:
        return otherwise


def _of_letters(letters: str) -> int:
    """Return the number of a column, of "A" 1, of "AA" 27."""
    values = [ord(letter) - 64 for letter in letters.upper()[:8]]
    return int(np.polyval(values, 26)) if all(0 < value < 27 for value in values) else 0
