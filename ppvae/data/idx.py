"""Reads IDX files, the format of MNIST."""

import gzip
import math
import struct
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ppvae.data.files import REFLATION, DamagedFile, check_memory, check_plain, reading

_File: TypeAlias = IO[bytes] | gzip.GzipFile
_BYTES = 0x08  # the only type of value that MNIST's files have


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Read a file of bytes in IDX format, gzipped or not.

    The format is two zero bytes, the type of value, the number of dimensions, each size as four
    bytes with the highest first, and the values (LeCun, Cortes and Burges, "The MNIST database of
    handwritten digits", 1998).

    Args:
        path: the file.
        dimensions: how many dimensions it must have: 3 for images, 1 for labels.

    Returns:
        The values as unsigned bytes, in the shape that the file states.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is truncated, corrupted or of another kind; the message names it.
    """
    check_plain(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not packed:
            return _read(path, file, dimensions, size)
        with gzip.GzipFile(fileobj=file) as content:
            return _read(path, content, dimensions, REFLATION * size)


def _read(path: Path, file: _File, dimensions: int, most: int) -> Tensor:
    """Read the content of a file that holds at most so many bytes."""
    start = 4 + 4 * dimensions
    header = _bytes(path, file, start)
    if header[:4] != bytes([0, 0, _BYTES, dimensions]):
        raise ValueError(
            f"{path} is no IDX file of bytes in {dimensions} dimension(s): it begins with "
            f"{header[:4].hex(' ') or 'nothing'}"
        )
    shape = struct.unpack(f">{dimensions}I", header[4:]) if len(header) == start else ()
    expected = math.prod(shape)
    if shape and not expected:
        raise ValueError(f"{path} holds nothing: its header states the sizes {shape}")
    if not shape or start + expected > most:
        asked = f"asks for {start + expected}" if shape else "is cut off"
        raise ValueError(
            f"{path} is damaged: it has at most {most} bytes where its header {asked}; get the "
            "file again"
        )
    check_memory(path, expected)
    content = _bytes(path, file, expected)
    found = len(content) + len(_bytes(path, file, 1))
    if found != expected:
        raise ValueError(
            f"{path} is damaged: it has {'more' if found > expected else found} bytes of values "
            f"where its header asks for {expected}; get the file again"
        )
    values = np.frombuffer(bytearray(content), np.uint8)
    return torch.from_numpy(values).reshape(shape)


def _bytes(path: Path, file: _File, count: int) -> bytes:
    """Read so many bytes, or what there is."""
    try:
        with reading(path):
            return file.read(count)
    except DamagedFile as error:
        raise ValueError(f"{path} is damaged: {error.__cause__}; get the file again") from error
