"""Two views of the same datapoints."""

import itertools
from dataclasses import replace

import torch
from torch import Tensor

from ppvae.data.dataset import Dataset


def halves(dataset: Dataset) -> Dataset:
    """Return images as two views: the upper half, and the lower one as a condition.

    Each half is a vector, the rows of its image one after the other.

    Raises:
        ValueError: if the dataset holds no images of an even height, or is not all known.

    Example:
        >>> from ppvae.data import digits
        >>> upper, lower = halves(digits()).batch("test")
        >>> upper.shape, lower.shape
        (torch.Size([179, 32]), torch.Size([179, 32]))
    """
    shape = dataset.image_shape
    if shape is None or shape[0] % 2 or dataset.conditions or dataset.seen or dataset.sizes:
        raise ValueError(
            f"halves needs images of an even height, without conditions and missing cells; "
            f"dataset {dataset.name!r} has image_shape {shape}"
        )
    pixels = shape[0] // 2 * shape[1]

    def parts(images: Tensor) -> tuple[Tensor, Tensor]:
        flat = images.flatten(1)
        return flat[:, :pixels], flat[:, pixels:]

    train, validation, test = map(parts, (dataset.train, dataset.validation, dataset.test))
    return replace(
        dataset,
        train=train[0],
        validation=validation[0],
        test=test[0],
        conditions={"train": train[1:], "validation": validation[1:], "test": test[1:]},
        image_shape=(shape[0] // 2, shape[1]),
    )


def every_subset(*views: Tensor) -> tuple[Tensor, ...]:
    """Return rows once for each subset of their views, with which views are there as the last.

    A pair trained on them has met every subset: its posterior of one view alone is trained too.

    Example:
        >>> import torch
        >>> upper, lower, present = every_subset(torch.zeros(1, 5), torch.ones(1, 3))
        >>> upper.shape, present.tolist()
        (torch.Size([3, 5]), [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    """
    count, rows = len(views), len(views[0])
    places = range(count)
    subsets = [s for size in places for s in itertools.combinations(places, size + 1)]
    present = torch.zeros(len(subsets), rows, count)
    for number, subset in enumerate(subsets):
        present[number, :, list(subset)] = 1
    repeated = [view.repeat(len(subsets), *(1,) * (view.dim() - 1)) for view in views]
    return (*repeated, present.flatten(0, 1))
