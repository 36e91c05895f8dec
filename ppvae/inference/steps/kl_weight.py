"""The weight of the KL term, for any objective."""

from collections.abc import Callable
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor


class KLWeight:
    """Scales the latent sites of model and guide by one weight, and so the KL term.

    Both must be scaled: objectives with a closed-form KL read the guide's scale; the others
    subtract the guide's log density from the model's.
    """

    def __init__(self) -> None:
        self.value = torch.ones((), dtype=torch.float64)

    def weighted(self, program: Callable[..., Any]) -> Callable[..., Any]:
        """Return `program` with its latent sites scaled by the present weight."""

        def run(*batch: Tensor) -> Any:
            with _Scale(self.value):
                return program(*batch)

        return run


class _Scale(Messenger):  # type: ignore[misc]
    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value

    def _pyro_sample(self, message: Any) -> None:
        if not message["is_observed"] and not site_is_subsample(message):
            message["scale"] = message["scale"] * self.value
