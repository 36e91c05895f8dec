"""A prior of sequences of states."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.distributions import MarkovChain, positive
from ppvae.priors.prior import Prior


class Markov(Prior):
    """The chain p(z_1, ..., z_T) = prod_t p(z_t | z_{t-1}), from a learned z_0.

    Shapes: the transition maps `(*, latent)` to loc and raw scale, `(*, 2 * latent)`; a condition
    says which steps are there, `(*, T)`, as all are unless given.

    Args:
        transition: network from a state to loc and raw scale of the next, such as
            `networks.GatedTransition`.
        latent: size of a state.
        steps: T.

    Raises:
        ValueError: if a size is not positive.

    Example:
        >>> from ppvae.networks import GatedTransition
        >>> Markov(GatedTransition(2), 2, steps=5)().sample((3,)).shape
        torch.Size([3, 5, 2])
    """

    def __init__(self, transition: nn.Module, latent: int, steps: int) -> None:
        super().__init__()
        if latent < 1 or steps < 1:
            raise ValueError(f"Markov needs positive sizes, got latent {latent}, steps {steps}")
        self.transition, self.latent, self.steps = transition, latent, steps
        self.start = nn.Parameter(torch.zeros(latent))

    @property
    def support(self) -> constraints.Constraint:
        """The values that a sequence of states may take."""
        return constraints.independent(constraints.real, 2)

    def after(self, z: Tensor) -> dist.Distribution:
        """Return p(z_t | z_{t-1}) for states `(*, latent)`."""
        loc, raw = self.transition(z).chunk(2, -1)
        return dist.Normal(loc, positive(raw)).to_event(1)

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(z) over `(T, latent)`."""
        seen = conditions[-1] if conditions else None
        return MarkovChain(self.transition, self.start, self.steps, seen=seen)
