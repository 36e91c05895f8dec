"""Folders of files of rows, and single ones."""

from pathlib import Path

from ppvae.data.files import check_plain
from ppvae.data.parquet_shards import LastGroup, ParquetFile
from ppvae.data.pictures import ENDINGS as PICTURES
from ppvae.data.shards import ArrayFile, Shard

ENDINGS = (".npy", ".parquet")
"""The endings of files of which some rows are read at a time."""


def opened(path: Path) -> list[Shard]:
    """Return a file of rows, or those of a folder in the order of their paths.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if a file is damaged or of another kind, or files differ in shape or type.
    """
    last = LastGroup()
    shards = [_shard(file, last) for file in (_files(path) if path.is_dir() else [path])]
    first = shards[0]
    for shard in shards:
        if (shard.shape[1:], shard.dtype) != (first.shape[1:], first.dtype):
            raise ValueError(
                f"{shard.path} has rows of shape {shard.shape[1:]} and type {shard.dtype}, and "
                f"{first.path} of shape {first.shape[1:]} and type {first.dtype}; expected the "
                "same in all files of a folder"
            )
    return shards


def holds_rows(path: Path) -> bool:
    """Tell whether a folder, or one in it, holds files of rows and no pictures."""
    files = [*path.glob("*"), *path.glob("*/*")] if path.is_dir() else []
    endings = {file.suffix.lower() for file in files}
    return bool(endings & {*ENDINGS}) and not endings & {*PICTURES}


def _files(folder: Path) -> list[Path]:
    inside = folder.resolve()
    found = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix in ENDINGS
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
    if not found:
        raise ValueError(f"{folder} holds no file that ends in {' or '.join(ENDINGS)}")
    for file in found:
        if not file.resolve().is_relative_to(inside):
            raise ValueError(f"{file} is a link out of the folder, which is not followed")
        if file.suffix != found[0].suffix:
            raise ValueError(
                f"{folder} holds files of two kinds, {found[0].name} and {file.name}; expected one"
            )
    return found


def _shard(path: Path, last: LastGroup) -> Shard:
    check_plain(path)
    if path.suffix not in ENDINGS:
        raise ValueError(f"{path} ends in {path.suffix!r}; expected {' or '.join(ENDINGS)}")
    return ArrayFile(path) if path.suffix == ".npy" else ParquetFile(path, last)
