"""How several draws of a pair are run."""

from enum import Enum, auto


class Way(Enum):
    """How several draws of a pair are run, the preferred way first."""

    AT_ONCE = auto()
    """In a plate left of all others."""

    FOLDED = auto()
    """As further rows of the data, for networks that take a single batch dimension."""

    ONE_BY_ONE = auto()
    """One run for each draw."""
