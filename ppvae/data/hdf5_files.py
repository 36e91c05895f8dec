"""Checks of HDF5 files, which may name other files and state any size."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ppvae.data.files import REFLATION, DamagedFile, check_memory, reading

_REFERENCE = 16  # bytes of a text of any length beside the text itself


def check_hdf5(path: Path, places: Sequence[str] | None = None) -> None:
    """Refuse a file of which a part lies in another one, or that needs more memory than there is.

    Args:
        path: the file.
        places: the parts that will be read; all unless given.

    Raises:
        DamagedFile: if it is no HDF5, or a part is an external link, or an external or virtual
            dataset: whoever opens it would read, unknowingly, what these name. Or if it states
            more values than a file of its size can hold.
        ValueError: if the values need more memory than the machine has.
    """
    import h5py

    with reading(path), h5py.File(path, "r") as file:
        for name, part in _parts(path, file):
            if isinstance(part, h5py.Dataset) and (part.external or part.is_virtual):
                raise DamagedFile(path, f"{name!r:.100} in it holds the values of another file")
        chosen = [file] if places is None else [file[name] for name in places if name in file]
        size = sum(_bytes(part) for root in chosen for part in _datasets(path, root))
    if size > REFLATION * path.stat().st_size:
        raise DamagedFile(path, f"it cannot hold the {size} bytes of values that it states")
    check_memory(path, size)


def _datasets(path: Path, root: Any) -> Iterator[Any]:
    import h5py

    if isinstance(root, h5py.Dataset):
        yield root
        return
    yield from (part for _, part in _parts(path, root) if isinstance(part, h5py.Dataset))


def _parts(path: Path, root: Any) -> Iterator[tuple[str, Any]]:
    """Yield groups and datasets below a group, each once, with their names."""
    import h5py

    groups, seen = [root], set()
    while groups:
        group = groups.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise DamagedFile(
                    path, f"{name!r:.100} in it is a link to another file, {link.filename!r:.100}"
                )
            if isinstance(link, h5py.SoftLink):  # to a part that has a name of its own, or to none
                continue
            part = group[name]
            place = h5py.h5o.get_info(part.id).addr
            if place in seen:  # of several names
                continue
            seen.add(place)
            yield part.name, part
            if isinstance(part, h5py.Group):
                groups.append(part)


def _bytes(part: Any) -> int:
    size = part.size or 0  # None of an empty one
    return int(size) * (_REFERENCE if part.dtype.hasobject else part.dtype.itemsize)
