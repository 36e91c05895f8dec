"""Callbacks: called with the training after every evaluation, and once more when it has ended."""

import math
from typing import Any

from ppvae.inference.state import Snapshot, Training


class EarlyStopping:
    """Stop when the validation ELBO has not risen for a while; leave the best weights.

    Args:
        patience: number of evaluations without a rise after which training stops.
        min_delta: what counts as a rise, in nats per datapoint.

    Raises:
        ValueError: if `patience` is not positive or `min_delta` negative; on the first call, if
            there are no validation data.

    Example:
        >>> import ppvae
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> fit = ppvae.fit(pair, digits, epochs=3, callbacks=[EarlyStopping(patience=2)])
        >>> fit.reason
        'finished'
    """

    def __init__(self, patience: int = 10, min_delta: float = 0.0) -> None:
        if patience < 1 or not min_delta >= 0:
            raise ValueError(
                "EarlyStopping needs patience >= 1 and min_delta >= 0, got "
                f"{patience} and {min_delta}"
            )
        self.patience = patience
        self.min_delta = min_delta
        self._forget()

    def _forget(self) -> None:
        self._training: Training | None = None
        self._best, self._waited = -math.inf, 0
        self._weights: Snapshot | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: the best ELBO, its weights, and how long ago it was."""
        return {"best": self._best, "waited": self._waited, "weights": self._weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Begin the next training with a state that `state_dict` returned."""
        self._forget()
        self._best, self._waited = state["best"], state["waited"]
        self._weights = state["weights"]

    def __call__(self, training: Training) -> bool:
        """Return whether training should stop; put the best weights back once it has ended."""
        if self._training not in (None, training):  # one object may serve several trainings
            self._forget()
        self._training = training
        if training.ended:
            if self._weights is not None:
                training.restore(self._weights)
            self._forget()
            return False
        elbo = training.records[-1].get("validation_elbo")
        if elbo is None:
            raise ValueError("EarlyStopping needs validation data; pass fit(..., validation=x)")
        if elbo > self._best + self.min_delta:
            self._best, self._weights, self._waited = elbo, training.snapshot(), 0
        else:
            self._waited += 1
        return self._waited >= self.patience
