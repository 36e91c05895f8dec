"""The classes that a pair is given beside each datapoint."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ppvae.data.dataset import Dataset


@dataclass(frozen=True)
class GivenClasses:
    """A one-hot condition of a dataset.

    Args:
        place: which tensor of a batch it is; x is 0.
        count: the number of classes.
        names: what they are called.
    """

    place: int
    count: int
    names: tuple[str, ...]

    def of(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Return the class of each row of a batch, `(data,)`."""
        return batch[self.place].argmax(-1)

    def put(self, batch: tuple[Tensor, ...], classes: Tensor) -> tuple[Tensor, ...]:
        """Return a batch with other classes, `(data,)`."""
        old = batch[self.place]
        hot = torch.nn.functional.one_hot(classes.to(old.device), self.count).to(old)
        return (*batch[: self.place], hot, *batch[self.place + 1 :])


def given_classes(dataset: Dataset) -> GivenClasses | None:
    """Return the first one-hot condition of a dataset with at least two classes, or None.

    Example:
        >>> from ppvae import data
        >>> given_classes(data.digits()) is None
        True
        >>> given_classes(data.digits().conditional()).names[7]
        '7'
    """
    for index, condition in enumerate(dataset.conditions.get("train", ())):
        if condition.dim() != 2 or condition.shape[1] < 2:
            continue
        hot = ((condition == 0) | (condition == 1)).all() and (condition.sum(-1) == 1).all()
        if not bool(hot):
            continue
        count = condition.shape[1]
        names = tuple(map(str, range(count)))
        labels = dataset.labels.get("train")
        if labels is not None and torch.equal(labels.long(), condition.argmax(-1)):
            names = (*dataset.label_names, *names[len(dataset.label_names) :])[:count]
        return GivenClasses(1 + index, count, names)
    return None
