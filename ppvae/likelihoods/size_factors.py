"""Factors of the means of counts: how much of each datapoint was observed."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class SizeFactor(nn.Module, ABC):
    """The factor of the means of counts, taken from the conditions of a datapoint."""

    @abstractmethod
    def forward(
        self, conditions: tuple[Tensor, ...], event_dim: int
    ) -> tuple[tuple[Tensor, ...], Tensor | float]:
        """Return the conditions that the network gets, and the logarithm of the size.

        Args:
            conditions: all conditions, of which z is the first.
            event_dim: number of dimensions of one datapoint, over which the size broadcasts.
        """


class UnitSize(SizeFactor):
    """A size of one: the network alone gives the means, and has to learn differences in size.

    Example:
        >>> UnitSize()((torch.zeros(2),), 1)
        ((tensor([0., 0.]),), 0.0)
    """

    def forward(
        self, conditions: tuple[Tensor, ...], event_dim: int
    ) -> tuple[tuple[Tensor, ...], Tensor | float]:
        """Return all conditions, and 0."""
        return conditions, 0.0


class FeatureSizes(SizeFactor):
    """A fixed size of each feature, such as its mean over the training data.

    The network then starts near the data, whatever the unit of a count.

    Args:
        features: number of features; sizes of 1 until others are loaded.

    Example:
        >>> sizes = FeatureSizes.of(torch.tensor([1.0, 100.0]))
        >>> sizes((torch.zeros(2),), 1)[1].exp().round()
        tensor([  1., 100.])
    """

    log_size: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        self.register_buffer("log_size", torch.zeros(features))

    @classmethod
    def of(cls, sizes: Tensor) -> "FeatureSizes":
        """Return these sizes, `(features,)`."""
        factor = cls(len(sizes))
        factor.log_size.copy_(sizes.log())
        return factor

    def forward(
        self, conditions: tuple[Tensor, ...], event_dim: int
    ) -> tuple[tuple[Tensor, ...], Tensor | float]:
        """Return all conditions, and the logarithms of the sizes."""
        return conditions, self.log_size


class ObservedSize(SizeFactor):
    """The observed size s of each datapoint, its last condition: means become s exp(log_mean).

    A size is the length of a document, the depth to which a cell was sequenced (Lopez et al.,
    "Deep generative modeling for single-cell transcriptomics", 2018) or the time over which
    events were counted. Batches are `(x, s)`, or `(x, *conditions, s)` with further conditions;
    the likelihood's network gets these and z, but not s.

    Shapes: s is `(*, 1)`, under the leading dimensions of the other conditions.

    Args:
        features: number of features, where means are s f exp(log_mean) with a fixed share f of
            each; shares of 1 until others are loaded. None for no shares.

    Raises:
        ValueError: when called, if there is no size, or one that is not `(*, 1)`, positive and
            finite.

    Example:
        >>> from ppvae.likelihoods import Poisson
        >>> counts = Poisson(nn.Linear(2, 3), size=ObservedSize())
        >>> z, size = torch.zeros(5, 2), torch.full((5, 1), 10.0)
        >>> torch.allclose(counts(z, size).mean, 10 * counts(z, size / 10).mean)
        True
    """

    log_share: Tensor | None

    def __init__(self, features: int | None = None) -> None:
        super().__init__()
        self.features = features
        self.register_buffer("log_share", None if features is None else torch.zeros(features))

    @classmethod
    def of(cls, shares: Tensor) -> "ObservedSize":
        """Return the size with these shares, `(features,)`: the network starts near the data.

        Example:
            >>> size = ObservedSize.of(torch.tensor([0.25, 0.75]))
            >>> size((torch.zeros(2), torch.tensor([8.0])), 1)[1].exp().round()
            tensor([2., 6.])
        """
        factor = cls(len(shares))
        assert factor.log_share is not None
        factor.log_share.copy_(shares.log())
        return factor

    def forward(
        self, conditions: tuple[Tensor, ...], event_dim: int
    ) -> tuple[tuple[Tensor, ...], Tensor | float]:
        """Return all conditions but the last, and the logarithm of the last, with the shares."""
        *others, size = conditions
        if not others or size.shape[-1:] != (1,):
            raise ValueError(
                "ObservedSize needs the size as the last condition, of shape (*, 1), got shape "
                f"{tuple(size.shape) if others else 'none'}; pass batches (x, size)"
            )
        if not bool(((size > 0) & (size < torch.inf)).all()):
            raise ValueError(
                "ObservedSize needs sizes that are positive and finite, got "
                f"{float(size.min()):g} to {float(size.max()):g}; remove these datapoints"
            )
        log_size = size.log().unflatten(-1, (1,) * event_dim)
        return tuple(others), log_size if self.log_share is None else log_size + self.log_share
