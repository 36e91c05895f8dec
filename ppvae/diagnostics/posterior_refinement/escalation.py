"""How far `refine` goes where a cheaper posterior does not pass."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Escalation:
    """How far `refine` goes; 0 leaves a level out.

    Args:
        climbing: steps of the search for modes.
        rounds: times that the mixture is adapted to its weighted draws.
        searching: steps of the search for the normal of the highest ELBO.
        chains: annealed chains of a datapoint.
        temperatures: densities of their path.
        leapfrogs: leapfrog steps of a trajectory.

    Raises:
        ValueError: if one of them is negative or not finite.

    Example:
        >>> THOROUGH.temperatures > BRIEF.temperatures
        True
    """

    climbing: int = 60
    rounds: int = 4
    searching: int = 200
    chains: int = 250
    temperatures: int = 30
    leapfrogs: int = 5

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be at least 0, got {value}")


BRIEF = Escalation(searching=0, temperatures=0)
"""The guide, the modes, and adapted mixtures: no level that takes hundreds of gradients."""

THOROUGH = Escalation()
"""Every level: also the normal of the highest ELBO, and annealed chains."""
