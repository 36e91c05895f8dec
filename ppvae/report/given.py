"""What a pair is given beside the datapoints of a figure: classes, and which cells are known."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ppvae.data import Dataset, GivenClasses, given_classes
from ppvae.engine import Batch

_CLASSES = 20  # that get a row in a figure


@dataclass(frozen=True)
class Given:
    """The classes that a pair is given.

    Args:
        classes: which tensor of a batch they are, and their names.
    """

    classes: GivenClasses

    def rows(self, batch: Batch, count: int) -> Iterator[tuple[str, Batch]]:
        """Yield the name of each class and `count` rows of it, with its other conditions.

        Of many classes these are the most frequent ones, in their order.
        """
        numbers = self.classes.of(batch)
        frequent = self._frequencies(batch).argsort(descending=True, stable=True)[:_CLASSES]
        for number in sorted(frequent.tolist()):
            own = (numbers == number).nonzero()[:, 0]
            own = own if len(own) else torch.arange(len(numbers), device=numbers.device)
            places = own[torch.arange(count, device=own.device) % len(own)]
            part = tuple(tensor[places] for tensor in batch)
            asked = torch.full((count,), number)
            yield self.classes.names[number], self.classes.put(part, asked)

    def most_frequent(self, batch: Batch) -> Batch:
        """Return the rows of the most frequent class."""
        chosen = self.classes.of(batch) == self._most(batch)
        return tuple(tensor[chosen] for tensor in batch)

    def frequent_name(self, batch: Batch) -> str:
        """Return the name of the most frequent class."""
        return self.classes.names[self._most(batch)]

    def _most(self, batch: Batch) -> int:
        return int(self._frequencies(batch).argmax())

    def _frequencies(self, batch: Batch) -> Tensor:
        return torch.bincount(self.classes.of(batch), minlength=self.classes.count)


def given_of(dataset: Dataset, batch: Batch) -> Given | None:
    """Return the classes that a pair is given, or None."""
    classes = given_classes(dataset) if len(batch) > 1 else None
    return None if classes is None else Given(classes)


def known_only(dataset: Dataset, batch: Batch) -> Tensor:
    """Return the datapoints of a batch, with NaN in cells that are not known."""
    x = batch[0]
    return torch.where(batch[-1] > 0, x, math.nan) if dataset.seen else x


def name_of(dataset: Dataset, split: str, place: int) -> str:
    """Return the name of a datapoint, or the number of its row."""
    names = dataset.row_names.get(split, ())
    return names[place] if names else str(int(dataset.row_numbers(split)[place]))
