"""Files that are written completely or not at all, and read without running code."""

import errno
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

LARGEST = 2**26  # bytes of a JSON file: far beyond any training, and little memory
_LEFT_OVER = re.compile(r"\..+\.[0-9a-f]{16}")  # the temporary files of `atomic_write`


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`, which replaces `path` when the block ends well.

    The content is on disk before the file is renamed. On an exception the temporary file is
    removed, and `path` is as it was.

    Raises:
        OSError: if it cannot be written, or `path` is a symbolic link or a folder. It names `path`
            also where the disk is full, for which the system names no file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_write(Path(folder) / "note.txt") as file:
        ...         _ = file.write(b"all of it")
        ...     (Path(folder) / "note.txt").read_text()
        'all of it'
    """
    refuse_other_than_file(path)
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    # O_EXCL: never a file or link that is there. Mode 0o666 leaves permissions to the umask.
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        os.unlink(temporary)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise
    sync_folder(path.parent)


def refuse_other_than_file(path: Path) -> None:
    """Refuse to write where something is that is no plain file.

    Raises:
        OSError: if `path` is a symbolic link, a folder, a pipe or a device.
    """
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        raise OSError(errno.EINVAL, f"{_kind(path)}, where a file is to be written", str(path))


def plain_file(path: Path) -> Path:
    """Return the path of a file that may be read.

    Raises:
        FileNotFoundError: if there is none.
        OSError: if it is a symbolic link that leaves its folder, or no plain file.
    """
    found = os.stat(path)
    inside = os.path.realpath(path).startswith(os.path.join(os.path.realpath(path.parent), ""))
    if not inside or not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, f"{_kind(path)}, where a file is to be read", str(path))
    return path


def read_text(path: Path, largest: int) -> str:
    """Read a file of UTF-8.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if it is a symbolic link that leaves its folder, or no plain file.
        ValueError: if it has more than `largest` bytes or is not UTF-8; the message names it.
    """
    with open(plain_file(path), "rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"{path} is damaged: it has more than {largest} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is damaged: {error!s:.300}") from error


def _kind(path: Path) -> str:
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        return f"a symbolic link to {os.readlink(path):.200}"
    return "a folder" if stat.S_ISDIR(mode) else "no plain file"


def remove_left_over(folder: Path) -> None:
    """Remove the temporary files that a process left in a folder when it was killed."""
    for path in folder.iterdir():
        if _LEFT_OVER.fullmatch(path.name) and stat.S_ISREG(os.lstat(path).st_mode):
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Write a folder's names to disk, so that what is written later finds the new one there."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # one may write into a folder whose names one may not read
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> list[Path]:
    """Make a folder with its parents where there is none, and write their names to disk.

    Returns:
        The folders that were made, the innermost first.
    """
    if folder.is_dir():
        return []
    made = make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)
    return [folder, *made]


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, completely or not at all."""
    with atomic_write(path) as file:
        file.write(content)


def write_json(path: Path, content: Any) -> None:
    """Write what JSON can hold to `path`, completely or not at all."""
    write_bytes(path, (json.dumps(content, indent=2) + "\n").encode())


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write tensors, and texts by name, to `path` as safetensors, completely or not at all."""
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save_tensors(contiguous, metadata))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if it is a symbolic link that leaves its folder, or no plain file.
        ValueError: if the file is damaged or too large; the message names it.
    """
    text = read_text(path, LARGEST)
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error!s:.300}") from error
    except RecursionError as error:
        raise ValueError(f"{path} is damaged: it is nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: expected an object, got {type(content).__name__}")
    return content


def read_metadata(path: Path) -> dict[str, str]:
    """Read the texts by name that a safetensors file holds beside its tensors.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if it is a symbolic link that leaves its folder, or no plain file.
        ValueError: if the file is damaged; the message names it.
    """
    with _checked(path), safe_open(plain_file(path), "pt") as file:
        metadata: dict[str, str] = file.metadata() or {}
    return metadata


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if it is a symbolic link that leaves its folder, or no plain file.
        ValueError: if the file is damaged or does not fit into memory; the message names it.
    """
    with _checked(path):
        with safe_open(plain_file(path), "pt"):
            pass  # the header, and whether it fits the file, before all of it is read
        tensors: dict[str, Tensor] = load_tensors(path.read_bytes())
    return tensors


_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How archives of `torch.save` and pickles begin."""


@contextmanager
def _checked(path: Path) -> Iterator[None]:
    """Name the file of tensors that is damaged or too large."""
    try:
        yield
    except SafetensorError as error:
        with path.open("rb") as file:
            start = file.read(4)
        if start.startswith(_PICKLES):
            raise ValueError(
                f"{path} is a file of torch.save or pickle, which may run code when it is read; "
                "ppvae reads safetensors alone: load it yourself and write it by ppvae.save"
            ) from error
        raise ValueError(f"{path} is damaged: {error!s:.300}") from error
    except MemoryError as error:
        raise ValueError(f"{path} does not fit into memory") from error
