"""Files that are written whole or not at all, and read without running code."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` that takes its place when the block ends well.

    The content is on disk before the file is renamed; on an exception nothing is left.

    Raises:
        OSError: if it cannot be written; it names `path` also where the disk is full, of which
            the system does not say which file it was.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with whole(Path(folder) / "note.txt") as file:
        ...         _ = file.write(b"all of it")
        ...     (Path(folder) / "note.txt").read_text()
        'all of it'
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp leaves it to the owner alone
        os.replace(temporary, path)
    except BaseException as error:
        os.unlink(temporary)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise
    # The new name, too, is on disk before anything is done that relies on it.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with whole(path) as file:
        file.write(content)


def write_json(path: Path, content: Any) -> None:
    """Write what JSON can hold to `path`, whole or not at all."""
    write(path, (json.dumps(content, indent=2) + "\n").encode())


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to `path` as safetensors, whole or not at all."""
    write(path, save_tensors({name: t.detach().contiguous() for name, t in tensors.items()}))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged; the message names it.
    """
    try:
        content = json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{path} is damaged: it is nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: expected an object, got {type(content).__name__}")
    return content


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged; the message names it.
    """
    try:
        tensors: dict[str, Tensor] = load_tensors(path.read_bytes())
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    return tensors
