"""The transition of a state, linear where a gate says so."""

import torch
from torch import Tensor, nn
from torch.nn.functional import relu


class GatedTransition(nn.Module):
    """Loc and raw scale of the next state, from the present one.

        g = sigmoid(f(z)),  loc = (1 - g) (A z + b) + g h(z),  raw = C relu(h(z)) + d

    with networks f and h of one hidden layer; A is the identity at first (Krishnan, Shalit and
    Sontag, "Structured inference networks for nonlinear state space models", 2017).

    Shapes: `(*, latent)` to `(*, 2 * latent)`.

    Args:
        latent: size of the state.
        width: of the hidden layers.

    Raises:
        ValueError: if a size is not positive, or the input is of another size.

    Example:
        >>> GatedTransition(3)(torch.zeros(5, 3)).shape
        torch.Size([5, 6])
    """

    def __init__(self, latent: int, width: int = 64) -> None:
        super().__init__()
        if latent < 1 or width < 1:
            raise ValueError(f"GatedTransition needs positive sizes, got {latent} and {width}")
        self.latent, self.width = latent, width
        self.gate = nn.Sequential(nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, latent))
        self.proposal = nn.Sequential(
            nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, latent)
        )
        self.linear = nn.Linear(latent, latent)
        nn.init.eye_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.raw_scale = nn.Linear(latent, latent)

    def forward(self, z: Tensor) -> Tensor:
        """Map a state to loc and raw scale of the next."""
        if z.shape[-1:] != (self.latent,):
            raise ValueError(
                f"GatedTransition needs states (*, {self.latent}), got shape {tuple(z.shape)}"
            )
        gate, proposed = self.gate(z).sigmoid(), self.proposal(z)
        loc = (1 - gate) * self.linear(z) + gate * proposed
        return torch.cat([loc, self.raw_scale(relu(proposed))], -1)
