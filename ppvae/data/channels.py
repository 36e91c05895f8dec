"""Where the channels of arrays of pictures are."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PICTURE = (1, 3)  # channels: gray; red, green and blue


def channels_first(
    path: Path, values: NDArray[Any], axis: int | None
) -> tuple[NDArray[Any], tuple[int, int] | None]:
    """Return pictures with their channels before height and width, and these two.

    Arrays `(data, height, width)` are pictures too. Others of 4 dimensions are so if the second
    or the last one has 1 or 3 entries.

    Args:
        path: of the array.
        values: `(data, *event)`.
        axis: which dimension of `values` has the channels; found out if none.

    Returns:
        The values, and height and width where they are pictures.

    Raises:
        ValueError: if it cannot be told where the channels are, or they are not 1 or 3.
    """
    shape = values.shape
    if axis is not None and (len(shape) != 4 or axis % 4 not in (1, 3)):
        raise ValueError(
            f"channel_axis is 1 or 3, of pictures (data, channels, height, width) or (data, "
            f"height, width, channels); got {axis} for an array of shape {shape} in {path}"
        )
    if len(shape) == 3:
        return values, (int(shape[1]), int(shape[2]))
    if len(shape) != 4:
        return values, None
    if axis is None:
        found = [place for place in (1, 3) if shape[place] in _PICTURE]
        if not found:
            if values.dtype == np.uint8 and 4 in (shape[1], shape[3]):
                raise _four(path, shape, 1 if shape[1] == 4 else 3)
            return values, None
        if len(found) == 2 or shape[4 - found[0]] == 4:
            raise ValueError(
                f"{path} holds an array of shape {shape}, whose channels may be at dimension 1 or "
                "3; say channel_axis=1 or channel_axis=3, in a command --data.channel_axis"
            )
        axis = found[0]
    axis %= 4
    if shape[axis] not in _PICTURE:
        raise _four(path, shape, axis)
    first = np.moveaxis(values, axis, 1)
    return first, (int(first.shape[2]), int(first.shape[3]))


def _four(path: Path, shape: tuple[int, ...], axis: int) -> ValueError:
    rest = "x[:, :3]" if axis == 1 else "x[..., :3]"
    return ValueError(
        f"{path} holds an array of shape {shape}, with {shape[axis]} channels at dimension "
        f"{axis}; expected 1 or 3: save {rest} if the others are transparency"
    )
