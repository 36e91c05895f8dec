"""Images turned, moved and resized at random."""

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from ppvae.data.dataset import Dataset

_CHUNK = 4096  # images whose places are in memory at once
_PARTS = ("train", "validation", "test")
_FACTORS = ("angle", "shift down", "shift right", "log size")


def posed(
    dataset: Dataset,
    *,
    rotation: float = math.pi / 4,
    shift: float = 0.0,
    scale: float = 0.0,
    copies: int = 1,
    seed: int = 0,
) -> Dataset:
    """Return images turned, moved and resized at random; `factors` holds by how much.

    Each is uniform between minus and plus its argument. What comes in from outside is 0, between
    pixels values are interpolated linearly, and of images of whole numbers rounded. The factors
    are what `pairs.SpatialVAE.pose` looks for, up to an offset.

    Args:
        dataset: the images.
        rotation: largest angle in radians.
        shift: largest shift, where 2 is the side of an image.
        scale: largest logarithm of the size.
        copies: how many images are made of each one.
        seed: of the random numbers.

    Raises:
        ValueError: if the dataset holds no images that are all known, 0 is no value of theirs, or
            a number is out of range.

    Example:
        >>> from ppvae import data
        >>> turned = posed(data.digits(), rotation=0.5)
        >>> turned.factor_names, turned.factors["test"].shape
        (('angle', 'shift down', 'shift right', 'log size'), torch.Size([179, 4]))
    """
    largest = torch.tensor([rotation, shift, shift, scale])
    if not (0 <= largest).all() or not largest.isfinite().all() or copies < 1:
        raise ValueError(
            "posed needs finite rotation, shift and scale of at least 0 and copies of at least 1, "
            f"got {rotation}, {shift}, {scale} and {copies}"
        )
    shape = dataset.image_shape
    # Conditions, sizes and cells belong to images as they were.
    tied = dataset.conditions or dataset.seen or dataset.sizes
    if shape is None or tied or not isinstance(dataset.train, Tensor):
        raise ValueError(
            "posed needs images in memory, without conditions and missing cells; dataset "
            f"{dataset.name!r} has image_shape {shape}"
        )
    if not dataset.support.check(torch.zeros(())).all():
        raise ValueError(
            f"posed fills images up with 0, which the support {dataset.support} of dataset "
            f"{dataset.name!r} does not hold"
        )
    generator = torch.Generator().manual_seed(seed)
    images, factors = {}, {}
    for part in _PARTS:
        rows = getattr(dataset, part).repeat_interleave(copies, 0)
        drawn = largest * (2 * torch.rand(len(rows), 4, generator=generator) - 1)
        made = [
            _placed(x.reshape(-1, 1, *shape), pose).reshape(x.shape)
            for x, pose in zip(rows.split(_CHUNK), drawn.split(_CHUNK), strict=True)
        ]
        whole = dataset.support.is_discrete
        images[part] = torch.cat(made).round() if whole else torch.cat(made)
        factors[part] = drawn
    return replace(
        dataset,
        train=images["train"],
        validation=images["validation"],
        test=images["test"],
        factors=factors,
        factor_names=_FACTORS,
        labels={part: of.repeat_interleave(copies) for part, of in dataset.labels.items()},
        rows={part: of.repeat_interleave(copies) for part, of in dataset.rows.items()},
        row_names={
            part: tuple(name for name in of for _ in range(copies))
            for part, of in dataset.row_names.items()
        },
    )


def _placed(images: Tensor, pose: Tensor) -> Tensor:
    """Return images `(data, 1, height, width)` at their poses `(data, 4)`."""
    angle, down, right, log_size = pose.unbind(-1)
    cos, sin = angle.cos(), angle.sin()
    # Where each pixel comes from: R(-angle) (pixel - shift) / size; torch names right first.
    back = torch.stack([cos, -sin, sin * down - cos * right, sin, cos, -sin * right - cos * down])
    theta = (back * (-log_size).exp()).T.unflatten(-1, (2, 3))
    grid = affine_grid(theta, list(images.shape), align_corners=True)
    return grid_sample(images, grid, align_corners=True)
