"""What figures are of: a pair on a split of a dataset."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import constraints

from ppvae import diagnostics
from ppvae.data import Dataset
from ppvae.engine import Batch, as_batch, isolated, row_chunks
from ppvae.pairs import VAE
from ppvae.priors import StandardNormal
from ppvae.reports.given import Given, given_of, name_of, prior_moments, setting_of

ROWS = 1000
"""Datapoints that are decoded together."""

MOVED_BY = "the latent's distance from the prior's mean, in its standard deviations"
"""What the steps of a traversal are."""


@dataclass(frozen=True)
class Subject:
    """A pair on a split of a dataset.

    Args:
        pair: the pair.
        dataset: the data.
        split: "train", "validation" or "test".
        seed: of every draw.
    """

    pair: VAE
    dataset: Dataset
    split: str
    seed: int = 0

    @cached_property
    def batch(self) -> Batch:
        """What the pair is called with."""
        return as_batch(self.dataset, self.pair, split=self.split)

    @cached_property
    def given(self) -> Given | None:
        """The classes that the pair is given."""
        return given_of(self.dataset, self.batch)

    @cached_property
    def means(self) -> Tensor:
        """The mean of q(z|x) of each datapoint, `(data, latent)`."""
        with isolated(self.pair, self.seed):
            return torch.cat([_mean(self.pair, part) for part in row_chunks(self.batch, ROWS)])

    @cached_property
    def spread(self) -> Tensor:
        """The variance of the means over the datapoints, `(latent,)`."""
        return self.means.var(0, correction=0)

    @cached_property
    def setting(self) -> tuple[list[Tensor], str]:
        """One row of each condition, for figures in which the latents move, and its name."""
        return setting_of(self.dataset, self.batch, self.given, self.split)

    @cached_property
    def prior(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the prior in that setting."""
        return prior_moments(self.pair, self.setting[0])

    @property
    def is_standard_normal(self) -> bool:
        """Whether the prior is N(0, I)."""
        return isinstance(self.pair.prior, StandardNormal)

    @property
    def fills_space(self) -> bool:
        """Whether latents fill R^d; otherwise means and steps along an axis lie outside."""
        return self.pair.prior.support is constraints.real_vector

    def decoded(self, z: Tensor) -> Tensor:
        """Return the mean of p(x|z) in the setting, of latents `(*, latent)`."""
        fixed = [part.expand(len(z), *part.shape[1:]) for part in self.setting[0]]
        with isolated(self.pair, seed=0):
            mean: Tensor = self.pair.decode(z, *fixed).mean
        return mean

    def active(self, most: int) -> tuple[list[int], str]:
        """Return the active latents that vary most, and a note if there are more."""
        if len(self.means) < 2:
            return [], ""
        units = diagnostics.active_units(self.pair, self.batch, seed=self.seed)
        active = np.flatnonzero(units.active["z"])
        widest = self.spread.cpu().numpy()[active].argsort(kind="stable")[::-1][:most]
        note = f": the {most} most active latents of {len(active)}" if len(active) > most else ""
        return np.sort(active[widest]).tolist(), note

    def traversed(self, latents: list[int], steps: NDArray[np.float64]) -> Tensor:
        """Return the mean of p(x|z) as one latent after the other moves: `(latents * steps, *)`.

        The steps are standard deviations from the prior's mean. The others stay where the
        datapoints are on average, or at the prior's mean in the setting of the conditions.
        """
        loc, scale = self.prior
        start = loc if self.setting[0] else self.means.mean(0)
        z = start.expand(len(latents), len(steps), -1).clone()
        for row, latent in enumerate(latents):
            z[row, :, latent] = loc[latent] + scale[latent] * torch.as_tensor(steps).to(z)
        return self.decoded(z.flatten(0, 1))

    def name(self, place: int) -> str:
        """Return the name of a datapoint, or the number of its row."""
        return name_of(self.dataset, self.split, place)


def source_of(dataset: Dataset, split: str, run: str = "") -> str:
    """Return which data and run a figure is of, in a line.

    Args:
        dataset: the data.
        split: "train", "validation" or "test".
        run: such as "runs/digits-1".

    Example:
        >>> from ppvae import data
        >>> source_of(data.digits(), "test", "runs/digits-1")
        'digits, test split, 179 datapoints, runs/digits-1'
    """
    count = len(getattr(dataset, split))
    return ", ".join(filter(None, (dataset.name, f"{split} split", f"{count} datapoints", run)))


def _mean(pair: VAE, batch: Batch) -> Tensor:
    """Return the posterior's mean, or a mean of draws if the family has no closed form of it."""
    posterior = pair.encode(*batch)
    try:
        mean: Tensor = posterior.mean
    except NotImplementedError:
        mean = posterior.sample((100,)).mean(0)
    return mean
