"""A VAE that is told what each datapoint is, such as its class."""

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from ppvae.data import Dataset
from ppvae.engine import Array, as_tensor, reference
from ppvae.likelihoods import Likelihood
from ppvae.networks import First, OneHot, ResidualMLP
from ppvae.pairs.parts import Parts
from ppvae.pairs.programs import evaluating
from ppvae.pairs.vae import VAE
from ppvae.posteriors import DiagonalNormal, Posterior
from ppvae.priors import ConditionalFullRankNormal, Prior


class ConditionalVAE(VAE):
    """The VAE p(z|y) p(x|z, y) with the guide q(z|x, y), given y.

        log p(x|y) >= E_q[log p(x|z, y)] - KL[q(z|x, y) || p(z|y)]

    (Sohn, Lee and Yan, "Learning structured output representation using deep conditional
    generative models", 2015). y is a class, several classes, or numbers; classes are passed as
    their numbers, and the factors get them one-hot.

    Shapes: x `(data, *event)`, y `(data,)` or `(data, len(levels))`. The factors are called with
    y as `(*, width)`, where each class takes as many places as it has values. A batch is `(x, y)`.

    Args:
        prior: p(z|y), or p(z), which ignores y.
        likelihood: p(x|z, y), with a network such as `networks.Joined`.
        posterior: q(z|x, y).
        levels: for each column of y its number of classes, or 0 if it is a number.

    Raises:
        TypeError: if a factor is not of its role.
        ValueError: if prior and posterior have different supports, or levels are negative.

    Example:
        >>> from ppvae import data
        >>> digits = data.digits()
        >>> pair = ConditionalVAE.of(digits, latent=2)
        >>> pair.sample(5, 3).shape
        torch.Size([5, 64])
        >>> x, y = digits.test[:4], digits.labels["test"][:4]
        >>> pair.translate(x, y, 7).shape
        torch.Size([4, 64])
    """

    def __init__(
        self, prior: Prior, likelihood: Likelihood, posterior: Posterior, levels: Sequence[int]
    ) -> None:
        super().__init__(prior, likelihood, posterior)
        self.levels = list(levels)
        self.one_hot = OneHot(levels)

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        *,
        latent: int = 10,
        network: Callable[[int, int], nn.Module] = ResidualMLP,
        prior: Callable[[int], Prior] | None = None,
        likelihood: Callable[[nn.Module], Likelihood] | None = None,
        posterior: Callable[[nn.Module], Posterior] = DiagonalNormal,
    ) -> Self:
        """Build the pair for a dataset with labels; y is the class.

        Args:
            dataset: the data, and the class of each datapoint.
            latent: number of latent dimensions.
            network: called with the sizes of input and output, for encoder and decoder.
            prior: called with `latent`; unless given, a normal prior of each class, since draws
                of one prior for all would lie where the decoder has seen other classes.
            likelihood: called with the decoder; without it the support decides.
            posterior: called with the encoder.

        Raises:
            ValueError: if the classes are not known, or `latent` is not positive.
            Unsupported: if no likelihood is known for the support.
        """
        classes = dataset.classes
        conditions = dataset.conditions.get("train", ())
        others = sum(part.shape[1] for part in conditions if part.dim() > 1)  # not y itself
        parts = Parts(
            dataset,
            latent=latent,
            network=network,
            likelihood=likelihood,
            posterior=posterior,
            given=classes + others,
        )
        factor, approximate = parts.likelihood(), parts.posterior()
        if prior is None:
            layer = ConditionalFullRankNormal.layer(classes, latent)
            return cls(ConditionalFullRankNormal(First(layer)), factor, approximate, [classes])
        return cls(prior(latent), factor, approximate, [classes])

    @classmethod
    def batches_of(cls, dataset: Dataset) -> Dataset:
        """Return the dataset whose batches are x and the number of its class."""
        first = dataset.conditions.get("train", ())[:1]
        return dataset if first and first[0].dim() == 1 else dataset.labeled()

    def conditions_of(self, conditions: Sequence[Array]) -> Sequence[Array]:
        """Return y one-hot, and other conditions as they are."""
        if not conditions:
            raise ValueError("ConditionalVAE needs y, the condition of each datapoint, got none")
        y, *others = conditions
        columns = as_tensor(y, "y")
        columns = columns.unsqueeze(-1) if columns.dim() == 1 else columns
        if columns.dim() < 2 or columns.shape[-1] != len(self.levels):
            raise ValueError(
                f"ConditionalVAE needs y of shape (data, {len(self.levels)})"
                f"{', or (data,),' if len(self.levels) == 1 else ''} got {tuple(columns.shape)}"
            )
        self.one_hot.check(columns, "ConditionalVAE needs y to be classes")
        return (self.one_hot(columns.to(reference(self))), *others)

    @torch.no_grad()
    def sample(self, n: int, y: Array | int | None = None, *others: Array) -> Tensor:
        """Draw `n` datapoints for each row of y, `(n, data, *event)`; `(n, *event)` of one class.

        Raises:
            ValueError: if a number is that of no class, or there is no y.
        """
        if y is None:
            return super().sample(n)
        draws = super().sample(n, _of_each(y, 1), *others)
        return draws if np.ndim(y) else draws.squeeze(1)

    @torch.no_grad()
    def translate(self, x: Array, y: Array, other: Array | int) -> Tensor:
        """Return what x would be with another y: the mean of p(x|z, other) at a z of q(z|x, y).

        Args:
            x: datapoints, `(data, *event)`.
            y: their conditions.
            other: those to translate to, of each datapoint or one class for all.

        Raises:
            ValueError: if a number is that of no class.
        """
        with evaluating(self):
            z = self.encode(x, y).sample()
            mean: Tensor = self.decode(z, _of_each(other, len(z))).mean
        return mean


def _of_each(y: Array | int, rows: int) -> Array:
    """Return y of each row: itself, or one class for all."""
    return torch.as_tensor(y).expand(rows) if isinstance(y, int) or not np.ndim(y) else y
