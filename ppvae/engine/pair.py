"""The protocol of a model/guide pair."""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

Program: TypeAlias = Callable[..., Any]
"""A model or a guide, called as `program(*batch)`."""


class Pair(Protocol):
    """A model and a guide with the same latent sites: all that inference and diagnostics need."""

    # Any, since type checkers do not know the attributes of an nn.Module.
    @property
    def model(self) -> Any:
        """The generative program, called as `model(*batch)`."""

    @property
    def guide(self) -> Any:
        """The approximate posterior, called as `guide(*batch)`."""
