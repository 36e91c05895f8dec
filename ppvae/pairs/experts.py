"""Posteriors of several views: from the views that are there, one normal expert of each."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppvae.distributions import DiagonalNormalMixture
from ppvae.posteriors import DiagonalNormal

_MOST = 8  # views of which all subsets are components
_NONE = -1e4  # log weight of a component that is not there: its weight is 0


class Experts(nn.Module, ABC):
    """The role of q(z | the views that are there), made of an estimate of each view.

    The prior is N(0, I), and takes part as one more expert: a product of some experts is

        N(v (m_1 / s_1^2 + m_2 / s_2^2 + ...), v),  1 / v = 1 + 1 / s_1^2 + 1 / s_2^2 + ...

    Args:
        experts: of each view, `DiagonalNormal` with a network of it.

    Raises:
        TypeError: if one is no `DiagonalNormal`.
        ValueError: if there is none.
    """

    def __init__(self, experts: Sequence[DiagonalNormal]) -> None:
        super().__init__()
        if not experts:
            raise ValueError(f"{type(self).__name__} needs an expert for each view, got none")
        for number, expert in enumerate(experts, 1):
            if not isinstance(expert, DiagonalNormal):
                raise TypeError(
                    f"{type(self).__name__} needs posteriors.DiagonalNormal for each view, got "
                    f"{type(expert).__name__} for view {number}"
                )
        self.experts = nn.ModuleList(experts)

    def forward(
        self, views: Sequence[Tensor | None], present: Tensor | None = None
    ) -> dist.Distribution:
        """Return q(z | the views that are there).

        Args:
            views: `(*, *event)` each, or None; those that are not there hold any finite value.
            present: which are there, `(*, views)`; all that are not None unless given.
        """
        normals = [
            None if view is None else expert(view).base_dist
            for expert, view in zip(self.experts, views, strict=True)
        ]
        like = next(normal.loc for normal in normals if normal is not None)
        none = torch.zeros_like(like)
        loc = torch.stack([none if n is None else n.loc for n in normals], -2)
        precision = torch.stack([none if n is None else n.scale**-2 for n in normals], -2)
        if present is None:
            given = torch.tensor([normal is not None for normal in normals], device=loc.device)
            present = given.expand(loc.shape[:-1])
        # Where a view is not there, its estimate is not used, not even with the weight 0.
        there = present.unsqueeze(-1)
        loc, precision = (torch.where(there, each, 0.0) for each in (loc, precision))
        return self.combined(loc, precision, present)

    @abstractmethod
    def combined(self, loc: Tensor, precision: Tensor, present: Tensor) -> dist.Distribution:
        """Combine estimates `(*, views, latent)`, 0 where a view is not there."""


class ProductOfExperts(Experts):
    """The product of all experts whose views are there, and of the prior.

    It is the posterior itself where each expert is its view's likelihood of z (Wu and Goodman,
    "Multimodal generative models for scalable weakly-supervised learning", 2018). An expert is
    trained on its own only by data in which other views are missing: see `data.every_subset`.

    Example:
        >>> experts = ProductOfExperts([DiagonalNormal(nn.Linear(3, 4)) for _ in range(2)])
        >>> q = experts([torch.zeros(5, 3)] * 2, torch.ones(5, 2, dtype=torch.bool))
        >>> q.event_shape, bool((q.base_dist.scale < 1).all())
        (torch.Size([2]), True)
    """

    def combined(self, loc: Tensor, precision: Tensor, present: Tensor) -> dist.Distribution:
        """Return the product."""
        variance = 1 / (1 + precision.sum(-2))
        return dist.Normal(variance * (precision * loc).sum(-2), variance.sqrt()).to_event(1)


class MixtureOfExperts(Experts):
    """The mixture of the experts whose views are there, each in the product with the prior.

    Each expert has to explain all views, and so learns on its own (Shi, Siddharth, Paige and Torr,
    "Variational mixture-of-experts autoencoders for multi-modal deep generative models", 2019).
    """

    member: Tensor

    def __init__(self, experts: Sequence[DiagonalNormal]) -> None:
        super().__init__(experts)
        chosen = [torch.zeros(len(experts))]  # the prior alone, where no view is there
        for places in self.subsets():
            chosen.append(chosen[0].index_fill(0, torch.tensor(places), 1.0))
        self.register_buffer("member", torch.stack(chosen), persistent=False)

    def subsets(self) -> list[tuple[int, ...]]:
        """Return which views make up each component."""
        return [(place,) for place in range(len(self.experts))]

    def combined(self, loc: Tensor, precision: Tensor, present: Tensor) -> dist.Distribution:
        """Return the mixture of the products of those subsets that are there; else the prior."""
        member = self.member.to(loc)
        variance = 1 / (1 + member @ precision)
        missing = member @ (~present).to(loc).unsqueeze(-1)
        there = missing.squeeze(-1) == 0
        alone = there.sum(-1, keepdim=True) == 1
        first = torch.arange(len(member), device=loc.device) == 0
        logits = torch.where(there & (alone | ~first), 0.0, _NONE).to(loc)
        return DiagonalNormalMixture(
            logits, variance * (member @ (precision * loc)), variance.sqrt()
        )


class MixtureOfProducts(MixtureOfExperts):
    """The mixture of the products of every subset of the experts whose views are there.

    (Sutter, Daunhawer and Vogt, "Generalized multimodal ELBO", 2021.)
    """

    def __init__(self, experts: Sequence[DiagonalNormal]) -> None:
        if len(experts) > _MOST:
            raise ValueError(
                f"MixtureOfProducts has a component for each subset of views, and takes at most "
                f"{_MOST} views, got {len(experts)}; take ProductOfExperts or MixtureOfExperts"
            )
        super().__init__(experts)

    def subsets(self) -> list[tuple[int, ...]]:
        """Return which views make up each component."""
        places = range(len(self.experts))
        sizes = range(1, len(self.experts) + 1)
        return [chosen for size in sizes for chosen in itertools.combinations(places, size)]
