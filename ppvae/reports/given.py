"""What a pair is given beside the datapoints of a figure: classes, and which cells are known."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ppvae.data import Dataset, GivenClasses, given_classes
from ppvae.engine import Batch, isolated
from ppvae.pairs import VAE

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


def setting_of(
    dataset: Dataset, batch: Batch, given: Given | None, split: str
) -> tuple[list[Tensor], str]:
    """Return one row of each condition, for figures in which the latents move, and its name."""
    if len(batch) == 1:
        return [], ""
    if given is None:
        known = dataset.conditions.get(split) or dataset.sizes
        note = f", conditions of row {name_of(dataset, split, 0)}" if known else ""
        return [part[:1] for part in batch[1:]], note
    rows = given.most_frequent(batch)
    return [part[:1] for part in rows[1:]], f", class {given.frequent_name(batch)}"


def prior_moments(pair: VAE, fixed: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of p(z|y) for one setting y of the conditions."""
    with isolated(pair, seed=0):
        prior = pair.prior(*pair.conditions_of(fixed))
        try:
            mean, variance = prior.mean, prior.variance
        except NotImplementedError:
            draws = prior.sample((1000,))
            mean, variance = draws.mean(0), draws.var(0)
    latent = mean.shape[-1]
    return mean.reshape(-1, latent)[0], variance.reshape(-1, latent)[0].sqrt()


def prior_draws(pair: VAE, batch: Batch) -> Tensor:
    """Return a draw of p(z|y) for each row of a batch."""
    x, *others = batch
    z: Tensor = pair.prior(*pair.conditions_of(others)).expand([len(x)]).sample()
    return z


def sampled_mean(pair: VAE, batch: Batch) -> Tensor:
    """Return the mean of p(x|z, y) at a draw of p(z|y) for each row of a batch."""
    mean: Tensor = pair.decode(prior_draws(pair, batch), *batch[1:]).mean
    return mean


def sampled_rows(pair: VAE, batch: Batch) -> Tensor:
    """Return a draw x of the model for each row of a batch."""
    drawn: Tensor = pair.decode(prior_draws(pair, batch), *batch[1:]).sample()
    return drawn
