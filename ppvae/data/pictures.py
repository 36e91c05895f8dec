"""Folders of pictures."""

import logging
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.distributions import constraints

from ppvae.data.dataset import Dataset
from ppvae.data.files import DamagedFile, check_memory, check_plain, reading
from ppvae.data.splitting import split

ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp")
"""The endings of files that are read as pictures, in small letters."""

_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")  # a library of all formats would run programs
_ANIMATED = ("PNG", "GIF", "WEBP")
_GRAY = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B")
_DEEP = ("I", "I;16", "I;16L", "I;16B")  # 16 bits, 0 to 65535
_TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")
_STRETCHED = 1.05  # the change of height / width that is said
_BYTES = 7  # a value: while it is read 1, stacked 1, split 1, as a 32-bit floating value 4
_LOG = logging.getLogger(__name__)


def images(
    folder: str | Path,
    *,
    size: int | tuple[int, int] | None = None,
    color: bool | None = None,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
) -> Dataset:
    """Return the pictures below a folder: PNG, JPEG, GIF, BMP and WebP.

    A picture becomes a vector of levels 0, ..., 255, of a color picture all of red first, then
    green, then blue. Pictures are numbered in the order of their paths; `rows` and `row_names`
    keep number and path, from the folder on. The folders that pictures lie in are their labels,
    named in `label_names`, unless all lie in one folder, the one that is given.

    A picture is turned as its camera says. Transparent parts are put on white. Of an animation
    the first picture is taken, and 16-bit levels are rounded to 8 bits. Hidden files and files
    with other endings are left out. The dataset's `notes` say so, and are logged as warnings too.

    Args:
        folder: the folder; pictures may lie in folders below it.
        size: height and width to which every picture is resized, or one number for both, with an
            antialiasing filter. Without it all pictures must have one size.
        color: True for red, green and blue, False for gray. By default gray if all pictures are
            stored as gray ones, otherwise color.
        validation: the fraction of pictures for validation.
        test: the fraction of pictures for testing.
        seed: the seed of the random split.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if there are no pictures, or sizes differ; if a file is damaged, is no picture,
            is larger than a picture can be trusted to be, or is a link out of the folder. The
            message names the file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for number in range(10):
        ...         Image.new("RGB", (4, 3), "red").save(f"{folder}/{number}.png")
        ...     red = images(folder)
        >>> red.image_shape, red.event_shape, red.train[0, :13].tolist() == [255] * 12 + [0]
        ((3, 4), torch.Size([36]), True)
    """
    folder = Path(folder)
    if not folder.is_dir():
        folder.stat()  # the system says that there is none
        raise ValueError(f"{folder} is no folder; expected a folder of pictures")
    shape = _shape_of(size)
    found, left_out = _found(folder)
    if not found:
        raise ValueError(f"{folder} holds no picture {', '.join(ENDINGS)}")
    said: Counter[str] = Counter()
    pictures = _read(folder, found, shape, color, said)
    names = tuple(path.relative_to(folder).as_posix() for path in found)
    folders = [path.parent.relative_to(folder).as_posix() for path in found]
    label_names = () if set(folders) == {"."} else tuple(sorted(set(folders)))
    codes = {name: code for code, name in enumerate(label_names)}
    height, width = pictures[0].shape[:2]
    dataset = split(
        folder.resolve().name or "images",
        _vectors(pictures),
        constraints.integer_interval(0, 255),
        labels=torch.tensor([codes[name] for name in folders]) if codes else None,
        image_shape=(height, width),
        validation=validation,
        test=test,
        seed=seed,
    )
    notes = [f"{folder}: {number} {what}" for what, number in said.items()]
    if left_out:
        what = "hidden file(s) or file(s) with other endings were left out"
        notes.append(f"{folder}: {left_out} {what}")
    for note in notes:
        _LOG.warning(note)
    rows = {part: numbers.tolist() for part, numbers in dataset.rows.items()}
    return replace(
        dataset,
        train=dataset.train.float(),
        validation=dataset.validation.float(),
        test=dataset.test.float(),
        label_names=label_names,
        row_names={part: tuple(names[row] for row in rows[part]) for part in rows},
        notes=tuple(notes),
    )


def read_pictures(
    folder: str | Path, size: tuple[int, int], color: bool
) -> tuple[Tensor, tuple[str, ...]]:
    """Return all pictures below a folder as vectors `(data, feature)`, and their paths in it.

    Args:
        folder: the folder.
        size: height and width that they are brought to.
        color: whether they have three channels.

    Raises:
        ValueError: if there are none, or one is damaged.
    """
    folder = Path(folder)
    found, _ = _found(folder)
    if not found:
        raise ValueError(f"{folder} holds no picture {', '.join(ENDINGS)}")
    pictures = _read(folder, found, size, color, Counter())
    names = tuple(path.relative_to(folder).as_posix() for path in found)
    return _vectors(pictures).float(), names


def _shape_of(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    sides = tuple(size) if isinstance(size, Sequence) else (size, size)
    whole = all(isinstance(side, int) and not isinstance(side, bool) for side in sides)
    if len(sides) != 2 or not whole or min(sides) < 1:
        raise ValueError(
            f"size must be a whole number from 1, or (height, width) of such, got {size!r}"
        )
    return sides[0], sides[1]


def _found(folder: Path) -> tuple[list[Path], int]:
    """Return the pictures below a folder in order, and how many entries are left out."""
    root = folder.resolve()
    found, left_out = [], 0
    for place, folders, files in os.walk(folder, onerror=_raise):
        hidden = [name for name in folders if name.startswith(".")]
        folders[:] = [name for name in folders if name not in hidden]
        left_out += len(hidden)
        for name in files:
            if name.startswith(".") or Path(name).suffix.lower() not in ENDINGS:
                left_out += 1
            else:
                found.append(Path(place, name))
        for link in filter(Path.is_symlink, (Path(place, name) for name in folders)):
            _check_inside(link, root)  # it is not walked into
            left_out += 1
    found.sort(key=lambda path: path.relative_to(folder).parts)
    for path in found:
        _check_inside(path, root)
        check_plain(path)
    return found, left_out


def _raise(error: OSError) -> NoReturn:
    raise error


def _check_inside(path: Path, root: Path) -> None:
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
        raise ValueError(f"{path} is a symbolic link out of the folder; copy what it links to")


def _read(
    folder: Path,
    found: Sequence[Path],
    shape: tuple[int, int] | None,
    color: bool | None,
    said: Counter[str],
) -> list[NDArray[np.uint8]]:
    """Read pictures of one size, `(height, width)` or `(height, width, 3)` each."""
    pictures: list[NDArray[np.uint8]] = []
    largest = 0
    for path in found:
        values = _pixels(path, shape, color, said)
        if pictures and values.shape[:2] != pictures[0].shape[:2]:
            first, other = (" x ".join(map(str, v.shape[:2])) for v in (pictures[0], values))
            raise ValueError(
                f"pictures must have one size (height x width): {found[0]} has {first} and {path} "
                f"{other}; give size=(height, width), in a command --data.size [height,width]"
            )
        if values.size > largest:
            largest = values.size
            instead = "take fewer pictures, or a smaller size=(height, width)"
            check_memory(folder, len(found) * largest * _BYTES, instead)
        pictures.append(values)
    return pictures


def _pixels(
    path: Path, shape: tuple[int, int] | None, color: bool | None, said: Counter[str]
) -> NDArray[np.uint8]:
    with reading(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as of EXIF fields that are not needed
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            opened = Image.open(path, formats=_FORMATS)
        except UnidentifiedImageError:
            raise DamagedFile(path, "its content is no picture of a known format") from None
        with opened:
            if opened.format in _ANIMATED and getattr(opened, "n_frames", 1) > 1:
                said["animation(s): the first picture was taken"] += 1
                opened.seek(0)
            picture = ImageOps.exif_transpose(opened)
        gray = _is_gray(picture)
        picture = _opaque(picture, said)
        wanted = gray if color is None else not color
        picture = picture.convert("L" if wanted else "RGB")
        if shape is not None and (picture.height, picture.width) != shape:
            height, width = shape
            change = picture.height * width / (picture.width * height)
            if max(change, 1 / change) > _STRETCHED:
                said["picture(s) of another height / width were stretched"] += 1
            picture = picture.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
        return np.array(picture)


def _is_gray(picture: Image.Image) -> bool:
    if picture.mode not in ("P", "PA"):
        return picture.mode in _GRAY
    palette: NDArray[Any] = np.array(picture.getpalette("RGB")).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _opaque(picture: Image.Image, said: Counter[str]) -> Image.Image:
    """Return a picture of 8-bit levels without transparency."""
    if picture.mode in _DEEP:
        said["picture(s) of 16-bit levels were rounded to 8 bits"] += 1
        levels = np.asarray(picture).astype(np.float64) / 257
        return Image.fromarray(levels.round().clip(0, 255).astype(np.uint8))
    if picture.mode not in _TRANSPARENT and "transparency" not in picture.info:
        return picture
    layer = picture.convert("RGBA")
    if np.asarray(layer)[..., 3].min() < 255:
        said["picture(s) with transparent parts were put on white"] += 1
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)


def _vectors(pictures: list[NDArray[np.uint8]]) -> Tensor:
    """Return pictures as vectors, channels first; a gray one among color ones has three equal."""
    height, width = pictures[0].shape[:2]
    channels = 3 if any(values.ndim == 3 for values in pictures) else 1
    stacked = np.empty((len(pictures), channels, height, width), np.uint8)
    for place, values in zip(stacked, pictures, strict=True):
        place[:] = np.moveaxis(values, -1, 0) if values.ndim == 3 else values
    return torch.from_numpy(stacked).flatten(1)
