"""The classes that a pair is given beside each datapoint."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ppvae.data.dataset import Dataset


@dataclass(frozen=True)
class GivenClasses:
    """A condition of a dataset that is the class of each datapoint, one-hot or its number.

    Args:
        place: which tensor of a batch it is; x is 0.
        count: the number of classes.
        names: what they are called.
        one_hot: whether a class is a vector `(classes,)`; otherwise it is its number.
    """

    place: int
    count: int
    names: tuple[str, ...]
    one_hot: bool = True

    def of(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Return the class of each row of a batch, `(data,)`."""
        given = batch[self.place]
        return given.argmax(-1) if self.one_hot else given.long()

    def put(self, batch: tuple[Tensor, ...], classes: Tensor) -> tuple[Tensor, ...]:
        """Return a batch with other classes, `(data,)`."""
        given = self.as_condition(classes).to(batch[self.place])
        return (*batch[: self.place], given, *batch[self.place + 1 :])

    def as_condition(self, classes: Tensor) -> Tensor:
        """Return classes, `(data,)`, as the pair is given them."""
        classes = classes.long()
        return torch.nn.functional.one_hot(classes, self.count) if self.one_hot else classes


def given_classes(dataset: Dataset) -> GivenClasses | None:
    """Return the first condition of a dataset that is a class of at least two, or None.

    It is one-hot, or holds the labels; numbers among which one is missing, -1, are none.

    Example:
        >>> from ppvae import data
        >>> given_classes(data.digits()) is None
        True
        >>> given_classes(data.digits().conditional()).names[7]
        '7'
    """
    for index, condition in enumerate(dataset.conditions.get("train", ())):
        if _are_labels(condition, dataset):
            return GivenClasses(1 + index, dataset.classes, class_names(dataset), one_hot=False)
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


def class_names(dataset: Dataset) -> tuple[str, ...]:
    """Return what the classes of a dataset with labels are called, by their numbers if nothing.

    Example:
        >>> from ppvae import data
        >>> class_names(data.digits())[7]
        '7'
    """
    count, names = dataset.classes, dataset.label_names
    return (*names, *map(str, range(len(names), count)))[:count]


def _are_labels(condition: Tensor, dataset: Dataset) -> bool:
    labels = dataset.labels.get("train")
    if labels is None or condition.dim() != 1 or bool((labels < 0).any()):
        return False
    return dataset.classes > 1 and torch.equal(labels.long(), condition.long())
