"""Callbacks: called with the training after every evaluation, and once more when it has ended."""

import math

from ppvae.inference.state import Training


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
        self._training: Training | None = None

    def __call__(self, training: Training) -> bool:
        """Return whether training should stop; put the best weights back once it has ended."""
        if training is not self._training:  # one object may serve several trainings
            self._training, self._waited = training, 0
            self._best, self._weights = -math.inf, training.snapshot()
        if training.ended:
            training.restore(self._weights)
            return False
        elbo = training.records[-1].get("validation_elbo")
        if elbo is None:
            raise ValueError("EarlyStopping needs validation data; pass fit(..., validation=x)")
        if elbo > self._best + self.min_delta:
            self._best, self._weights, self._waited = elbo, training.snapshot(), 0
        else:
            self._waited += 1
        return self._waited >= self.patience
