"""Reads IDX files, the format of MNIST."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

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
        ValueError: if the file is truncated, corrupted or of another kind; the message names it.
    """
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (EOFError, zlib.error, OSError) as error:
            raise ValueError(f"{path} is damaged: {error}; get the file again") from error
    if len(content) < 4 or content[:3] != bytes([0, 0, _BYTES]) or content[3] != dimensions:
        raise ValueError(
            f"{path} is no IDX file of bytes in {dimensions} dimension(s): it begins with "
            f"{content[:4].hex(' ') or 'nothing'}"
        )
    start = 4 + 4 * dimensions
    shape = struct.unpack(f">{dimensions}I", content[4:start]) if len(content) >= start else ()
    expected = start + math.prod(shape)
    if not shape or len(content) != expected:
        raise ValueError(
            f"{path} is damaged: it has {len(content)} bytes where its header asks for "
            f"{expected if shape else 'more'}; get the file again"
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).copy()).reshape(shape)
