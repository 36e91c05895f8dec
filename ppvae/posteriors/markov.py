"""A posterior of sequences of states."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.distributions import MarkovChain
from ppvae.posteriors.posterior import Posterior


class Markov(Posterior):
    """The chain q(z_1, ..., z_T | x) = prod_t q(z_t | z_{t-1}, h_t), with h_t of x_t, ..., x_T.

    It has the structure of the posterior of a Markov model (Krishnan, Shalit and Sontag,
    "Structured inference networks for nonlinear state space models", 2017).

    Shapes: the network maps x, and which steps are there, `(*, T)`, to h, `(*, T, features)`; the
    transition maps `(*, latent)` and `(*, features)` to loc and raw scale, `(*, 2 * latent)`.

    Args:
        network: from x to h, such as `networks.BackwardGRU`.
        transition: from z_{t-1} and h_t to loc and raw scale, such as `networks.Joined`.
        latent: size of a state.

    Raises:
        ValueError: if `latent` is not positive.

    Example:
        >>> from ppvae.networks import BackwardGRU, Joined
        >>> posterior = Markov(BackwardGRU((5, 3), 8), Joined(nn.Linear(2 + 8, 4)), latent=2)
        >>> posterior(torch.zeros(7, 5, 3)).event_shape
        torch.Size([5, 2])
    """

    def __init__(self, network: nn.Module, transition: nn.Module, latent: int) -> None:
        super().__init__(network)
        if latent < 1:
            raise ValueError(f"Markov needs latent >= 1, got {latent}")
        self.transition, self.latent = transition, latent
        self.start = nn.Parameter(torch.zeros(latent))

    @property
    def support(self) -> constraints.Constraint:
        """The values that a sequence of states may take."""
        return constraints.independent(constraints.real, 2)

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return q(z|x) over `(T, latent)`."""
        inputs: Tensor = self.network(*conditions)
        seen = conditions[-1] if len(conditions) > 1 else None
        steps = inputs.shape[-2]
        return MarkovChain(self.transition, self.start, steps, inputs, seen)
