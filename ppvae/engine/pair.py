"""What a pair is."""

from typing import Any, Protocol


class Pair(Protocol):
    """A model and a guide with the same latent sites: all that inference and diagnostics need."""

    # Typed so that every nn.Module is taken, whose attributes type checkers know nothing of.
    @property
    def model(self) -> Any:
        """The generative program, called as `model(*batch)`."""

    @property
    def guide(self) -> Any:
        """The approximate posterior, called as `guide(*batch)`."""
