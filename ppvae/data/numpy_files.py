"""Reads NumPy's files; a size is checked before memory is taken for it."""

import io
import math
import struct
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ppvae.data.files import REFLATION, DamagedFile, check_memory, reading

_Array = NDArray[Any]
_PIECE = 2**24  # bytes read at once
_HEADER = 2**16  # bytes of a header, far beyond that of any array of numbers
_OF_SPARSE = {"indices", "indptr", "offsets", "row", "col"}  # what SciPy calls their parts


def read_npy(path: Path) -> _Array:
    """Map a file `.npy` into memory, copied where it is written to.

    Raises:
        ValueError: if the file is damaged, or holds no rows of numbers.
    """
    shape, fortran, dtype, offset = npy_header(path)
    with reading(path):
        # Copy-on-write: torch can use the array, and the file is never changed.
        return np.memmap(path, dtype, "c", offset, shape, "F" if fortran else "C")


def npy_header(path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return shape, whether the order is Fortran's, type, and where the values begin in a file.

    Raises:
        ValueError: if the file is damaged, or holds no rows of numbers.
    """
    with path.open("rb") as file:
        shape, fortran, dtype = _header(path, "it", file, "biuf")
        offset = file.tell()
    _check_size(path, "it", offset + _bytes(shape, dtype), path.stat().st_size)
    return shape, fortran, dtype, offset


def read_npz(path: Path) -> tuple[_Array, _Array | None]:
    """Return the data of an archive `.npz`, and the labels if it has them.

    Raises:
        ValueError: if the archive is damaged or holds other arrays.
    """
    with _archive(path) as (archive, members):
        data = _named(path, [name for name, _ in members])
        found = dict(members)
        values = _member(path, archive, found[data])
        labels = _member(path, archive, found["labels"]) if "labels" in found else None
    return values, labels


def read_named(path: Path, needed: set[str], others: set[str]) -> dict[str, _Array]:
    """Return the arrays of an archive `.npz` by their names.

    Args:
        path: the file.
        needed: the names that it must have.
        others: those that it may have besides.

    Raises:
        ValueError: if the archive is damaged or holds other arrays.
    """
    with _archive(path) as (archive, members):
        names = [name for name, _ in members]
        if not needed <= set(names) <= needed | others or len(set(names)) < len(names):
            raise ValueError(
                f"{path} holds the arrays {sorted(names)!s:.200}; expected "
                f"{' and '.join(map(repr, sorted(needed)))}, and besides at most "
                f"{' and '.join(map(repr, sorted(others)))}"
            )
        return {name: _member(path, archive, member) for name, member in members}


@contextmanager
def _archive(path: Path) -> Iterator[tuple[zipfile.ZipFile, list[tuple[str, zipfile.ZipInfo]]]]:
    """Open an archive `.npz`, with the names of its arrays."""
    with path.open("rb") as file:
        if file.read(6) == b"\x93NUMPY":
            raise DamagedFile(path, "it holds one array in the format .npy; rename it")
        file.seek(0)
        with reading(path):
            archive = zipfile.ZipFile(file)
        with archive:
            members = archive.infolist()
            yield archive, [(_array_name(path, member), member) for member in members]


def _array_name(path: Path, member: zipfile.ZipInfo) -> str:
    if not member.filename.endswith(".npy"):
        raise DamagedFile(path, f"{member.filename!r:.60} in it is no array")
    return member.filename.removesuffix(".npy")


def _named(path: Path, names: Sequence[str]) -> str:
    """Return the name of the array that holds the data."""
    if _OF_SPARSE & set(names):
        raise ValueError(
            f"{path} holds a sparse matrix; save a dense one: np.save('{path.stem}.npy', "
            f"scipy.sparse.load_npz({path.name!r}).toarray()), or take data.counts, in a command "
            f"counts --data.source {path.name}, if it holds counts"
        )
    others = sorted(name for name in names if name != "labels")
    if len(others) != 1 or len(set(names)) < len(names):
        raise ValueError(
            f"{path} holds the arrays {others!s:.200}; expected one, beside 'labels' if there "
            "are any; save them alone: np.savez(path, data=x, labels=y)"
        )
    return others[0]


def check_archive(path: Path) -> None:
    """Refuse an archive `.npz` that another library reads, if it is damaged or asks for too much.

    Raises:
        ValueError: if an array has another size than its header states, needs more memory than
            there is, or holds Python objects.
    """
    with reading(path):
        archive = zipfile.ZipFile(path)
    with archive:
        members = archive.infolist()
        check_memory(path, sum(member.file_size for member in members))
        for member in members:
            _array_name(path, member)
            with _opened(path, archive, member) as file:
                shape, _, dtype = _described(path, repr(member.filename), file)
                _check_member(path, member, file.tell() + _bytes(shape, dtype))


def _opened(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    name = repr(info.filename)
    if info.flag_bits & 1:
        raise DamagedFile(path, f"{name} in it is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DamagedFile(path, f"{name} in it is compressed as np.savez_compressed never does")
    with reading(path):
        return archive.open(info)


def _check_member(path: Path, info: zipfile.ZipInfo, expected: int) -> None:
    name = repr(info.filename)
    _check_size(path, name, expected, info.file_size)
    if info.file_size > REFLATION * (info.compress_size + 1):
        raise DamagedFile(path, f"{name} in it cannot have the size that it states")


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Array:
    name = repr(info.filename)
    with _opened(path, archive, info) as file:
        # Labels may be text.
        shape, fortran, dtype = _header(path, name, file, "biufSU")
        with reading(path):
            start = file.tell()
        size = _bytes(shape, dtype)
        _check_member(path, info, start + size)
        check_memory(path, size)
        content = np.empty(size, np.uint8)
        for begin in range(0, size, _PIECE):
            piece = content[begin : begin + _PIECE]
            with reading(path):
                found = file.read(len(piece))
                if len(found) != len(piece):
                    raise EOFError(f"{name} in it is cut off")
            piece[:] = np.frombuffer(found, np.uint8)
    values: _Array = content.view(dtype).reshape(shape, order="F" if fortran else "C")
    return values


def _header(
    path: Path, name: str, file: IO[bytes], kinds: str
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read shape, order and type of an array; refuse what holds no rows of these kinds of type."""
    shape, fortran, dtype = _described(path, name, file)
    if dtype.kind not in kinds:
        raise ValueError(f"{path} holds values of type {dtype}; expected numbers")
    if not shape or 0 in shape or not dtype.itemsize:
        raise ValueError(f"{path} holds an array of shape {shape}; expected rows of numbers")
    return shape, fortran, dtype


def _described(
    path: Path, name: str, file: IO[bytes]
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read shape, order and type of an array; refuse Python objects."""
    with reading(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old headers, which are read all the same
        version = np.lib.format.read_magic(file)
        readers = {
            (1, 0): (np.lib.format.read_array_header_1_0, struct.Struct("<H")),
            (2, 0): (np.lib.format.read_array_header_2_0, struct.Struct("<I")),
        }
        if version not in readers:
            raise ValueError(f"the header of {name} has version {version}")
        reader, number = readers[version]
        start = file.read(number.size)
        (length,) = number.unpack(start)
        if length > _HEADER:  # NumPy would take memory for it
            raise ValueError(f"the header of {name} states a length of {length} bytes")
        shape, fortran, dtype = reader(io.BytesIO(start + file.read(length)))
        shape = tuple(int(size) for size in shape)
        if min(shape, default=0) < 0:
            raise ValueError(f"the header of {name} has the shape {shape}")
    if dtype.hasobject:
        raise DamagedFile(
            path, f"{name} holds Python objects, which are not loaded; save an array of numbers"
        )
    return shape, fortran, dtype


def _bytes(shape: Sequence[int], dtype: np.dtype[Any]) -> int:
    return math.prod(shape) * dtype.itemsize


def _check_size(path: Path, name: str, expected: int, found: int) -> None:
    if expected != found:
        raise DamagedFile(
            path, f"{name} has {found} bytes where its header asks for {expected}; save it again"
        )
