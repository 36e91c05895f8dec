"""Posteriors of several layers of latents: in which order they are drawn, and from what."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Self, TypeAlias

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppvae.networks import First
from ppvae.pairs.parts import Parts
from ppvae.posteriors import DiagonalNormal, Posterior

Draw: TypeAlias = Callable[[int, dist.Distribution], Tensor]
"""Called with a layer's number, 1 for the lowest, and its distribution; returns a draw."""

_FEATURES = 128  # numbers that each network of a ladder passes on


class LayeredPosterior(nn.Module, ABC):
    """The role of q(z_1, ..., z_L | x): its `forward` draws every layer once, in its order.

    Args:
        posteriors: one for each layer, the lowest first.

    Raises:
        TypeError: if one is no posterior.
    """

    def __init__(self, posteriors: Sequence[Posterior]) -> None:
        super().__init__()
        for number, posterior in enumerate(posteriors, 1):
            if not isinstance(posterior, Posterior):
                raise TypeError(
                    f"{type(self).__name__} needs a ppvae.posteriors.Posterior for each layer, "
                    f"got {type(posterior).__name__} for layer {number}"
                )
        self.posteriors = nn.ModuleList(posteriors)

    @classmethod
    @abstractmethod
    def of(cls, parts: Parts, latent: Sequence[int]) -> Self:
        """Build it for a dataset.

        Args:
            parts: what suits the dataset.
            latent: number of latent dimensions of each layer, the lowest first.
        """

    @abstractmethod
    def forward(self, draw: Draw, priors: Sequence[nn.Module], *data: Tensor) -> list[Tensor]:
        """Draw each layer by `draw(number, distribution)`; return the draws, the lowest first.

        Args:
            draw: returns a draw of a layer's distribution.
            priors: p(z_l | z_{l+1}, ..., z_L) of each layer, the lowest first.
            data: x and its conditions.
        """


class BottomUp(LayeredPosterior):
    """From the data upwards: q(z_1 | x) q(z_2 | z_1, x) ... q(z_L | z_{L-1}, ..., z_1, x).

    The posterior of layer l is called with `z_{l-1}, ..., z_1, x` and x's conditions. With a
    network inside of `networks.First` it sees the layer below alone, with `networks.Joined` all.
    Where an upper layer stays unused, as `diagnostics.kl_per_site` says, try a `Ladder`.

    Args:
        posteriors: of any family, one for each layer, the lowest first.

    Example:
        >>> lower = DiagonalNormal(nn.Linear(5, 6))
        >>> posterior = BottomUp([lower, DiagonalNormal(First(nn.Linear(3, 4)))])
        >>> layers = posterior(lambda number, q: q.sample(), [], torch.zeros(8, 5))
        >>> [tuple(z.shape) for z in layers]
        [(8, 3), (8, 2)]
    """

    @classmethod
    def of(cls, parts: Parts, latent: Sequence[int]) -> Self:
        """Build it; each layer above the lowest sees the one below alone."""
        above = [
            DiagonalNormal(First(parts.network(below, 2 * size)))
            for below, size in pairwise(latent)
        ]
        return cls([DiagonalNormal(parts.encoder(2 * latent[0])), *above])

    def forward(self, draw: Draw, priors: Sequence[nn.Module], *data: Tensor) -> list[Tensor]:
        """Draw each layer, the lowest first; return the draws."""
        layers: list[Tensor] = []
        for number, posterior in enumerate(self.posteriors, 1):
            layers.append(draw(number, posterior(*reversed(layers), *data)))
        return layers


class Ladder(LayeredPosterior):
    """From the top downwards: q(z_L | x) ... q(z_1 | z_2, ..., z_L, x), each with its prior.

    Features d_1 = f_1(x) and d_l = f_l(d_{l-1}) are computed without randomness. The posterior of
    layer l, of d_l alone, is an estimate N(m, s^2). The top layer has it as it is; each other one
    weighs it with its prior N(m', s'^2), given the draws of the layers above, by their precisions:

        q(z_l | z_{l+1}, ..., z_L, x) = N(v (m / s^2 + m' / s'^2), v),  1 / v = 1 / s^2 + 1 / s'^2

    This is the product of the two densities, and the posterior where the estimate is the
    likelihood. A layer that data say nothing of is left to its prior, and those above it are not.
    In training a lower layer may be left to its prior for good: `diagnostics.kl_per_site` shows it
    (Sonderby, Raiko, Maaloe, Sonderby and Winther, "Ladder Variational Autoencoders", 2016).

    Args:
        features: the networks f_1, called with x and its conditions, f_2, ... f_L.
        posteriors: `DiagonalNormal` of the features of each layer, the lowest first.

    Raises:
        TypeError: if a posterior is no `DiagonalNormal`.
        ValueError: if there are not as many networks as posteriors.

    Example:
        >>> from ppvae.priors import ConditionalNormal, StandardNormal
        >>> estimates = [DiagonalNormal(nn.Linear(4, 6)), DiagonalNormal(nn.Linear(4, 4))]
        >>> posterior = Ladder([nn.Linear(5, 4), nn.Linear(4, 4)], estimates)
        >>> priors = [ConditionalNormal(nn.Linear(2, 6)), StandardNormal(2)]
        >>> layers = posterior(lambda number, q: q.sample(), priors, torch.zeros(8, 5))
        >>> [tuple(z.shape) for z in layers]
        [(8, 3), (8, 2)]
    """

    def __init__(self, features: Sequence[nn.Module], posteriors: Sequence[Posterior]) -> None:
        super().__init__(posteriors)
        for posterior in posteriors:
            if not isinstance(posterior, DiagonalNormal):
                raise TypeError(
                    "Ladder weighs independent normals, so it needs posteriors.DiagonalNormal for "
                    f"each layer, got {type(posterior).__name__}; BottomUp takes any family"
                )
        if len(features) != len(posteriors):
            raise ValueError(
                "Ladder needs a network of features for each posterior, got "
                f"{len(features)} for {len(posteriors)}"
            )
        self.features = nn.ModuleList(features)

    @classmethod
    def of(cls, parts: Parts, latent: Sequence[int]) -> Self:
        """Build it; the networks pass 128 features on."""
        features = [parts.encoder(_FEATURES)]
        features += [parts.network(_FEATURES, _FEATURES) for _ in latent[1:]]
        return cls(features, [DiagonalNormal(nn.Linear(_FEATURES, 2 * size)) for size in latent])

    def forward(self, draw: Draw, priors: Sequence[nn.Module], *data: Tensor) -> list[Tensor]:
        """Draw each layer, the top one first; return the draws, the lowest first."""
        estimates = []
        for features, posterior in zip(self.features, self.posteriors, strict=True):
            data = (features(*data),)
            estimates.append(posterior(*data))
        layers: list[Tensor] = []
        for place in reversed(range(len(estimates))):
            estimate = estimates[place]
            weighed = precision_weighted(estimate, priors[place](*layers)) if layers else estimate
            layers.insert(0, draw(place + 1, weighed))
        return layers


def precision_weighted(estimate: dist.Distribution, prior: dist.Distribution) -> dist.Distribution:
    """Return the normalized product of two densities of independent normals.

    Raises:
        TypeError: if one is another density.

    Example:
        >>> one, other = dist.Normal(torch.zeros(1), 1.0), dist.Normal(torch.ones(1), 1.0)
        >>> product = precision_weighted(one.to_event(1), other.to_event(1))
        >>> product.mean.item(), round(product.variance.item(), 4)
        (0.5, 0.5)
    """
    q, p = _normal(estimate), _normal(prior)
    total = q.scale.hypot(p.scale)  # in this form neither precision can overflow
    share = (p.scale / total).square()
    return dist.Normal(q.loc * share + p.loc * (1 - share), q.scale * p.scale / total).to_event(1)


def _normal(distribution: dist.Distribution) -> torch.distributions.Normal:
    inner = getattr(distribution, "base_dist", distribution)
    if not isinstance(inner, torch.distributions.Normal) or distribution.event_dim != 1:
        raise TypeError(
            "Ladder needs priors of independent normals below the top layer, such as "
            f"priors.ConditionalNormal, got {type(inner).__name__}"
        )
    return inner
