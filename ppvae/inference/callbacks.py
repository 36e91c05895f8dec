"""Callbacks: called with the training after every evaluation, and once more when it has ended."""

import math
from typing import Any

import torch
from torch import Tensor

from ppvae.engine import FEWEST, effective_sample_size, monte_carlo_error, split_rhat
from ppvae.inference.state import Snapshot, Training


class EarlyStopping:
    """Stop when the validation ELBO has not risen for a while; restore the best weights.

    The best weights are restored however training ends; `fit.kept_step` is their step.
    Evaluations during a warm-up, while the weight of the KL term changes or the learning rate
    rises, are not counted: the ELBO, whose KL term has weight 1 at validation, may fall there.

    Args:
        patience: number of evaluations without a rise after which training stops; None never
            stops it.
        min_delta: the smallest difference that counts as a rise, in nats per datapoint.

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

    def __init__(self, patience: int | None = 10, min_delta: float = 0.0) -> None:
        if (patience is not None and patience < 1) or not min_delta >= 0:
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
        self._step: int | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the best ELBO, its weights and step, and the number of evaluations since."""
        return {
            "best": self._best,
            "waited": self._waited,
            "weights": self._weights,
            "step": self._step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Start the next training from a state that `state_dict` returned."""
        self._forget()
        self._best, self._waited = state["best"], state["waited"]
        self._weights, self._step = state["weights"], state.get("step")

    def __call__(self, training: Training) -> bool:
        """Return whether training should stop; restore the best weights when it has ended."""
        if self._training not in (None, training):  # one object may serve several trainings
            self._forget()
        self._training = training
        if training.ended:
            if self._weights is not None:
                training.restore(self._weights)
                training.kept_step = self._step
            if self._has_waited:
                training.why_stopped = (
                    f"the validation ELBO did not rise in {self._waited} evaluations"
                )
            self._forget()
            return False
        elbo = training.records[-1].get("validation_elbo")
        if elbo is None:
            raise ValueError("EarlyStopping needs validation data; pass fit(..., validation=x)")
        if elbo > self._best + self.min_delta:
            self._best, self._weights, self._waited = elbo, training.snapshot(), 0
            self._step = training.step
        else:
            self._waited = 0 if training.warming_up else self._waited + 1
        return self._has_waited

    @property
    def _has_waited(self) -> bool:
        return self.patience is not None and self._waited >= self.patience


class Converged:
    """Stop when the parameters have converged; replace them by their average.

    With a constant learning rate the iterates do not converge to a point. They end in a stationary
    distribution around it, whose mean is nearer to the optimum than the last iterate (Dhaka,
    Catalina, Andersen, Magnusson, Huggins and Vehtari, "Robust, Accurate Stochastic Optimization
    for Variational Inference", 2020). The parameters at the last `window` evaluations are a chain.
    A scalar parameter has converged when its split R-hat is below `rhat`, the Monte Carlo error of
    its average is below `error`, and its effective sample size is at least `effective`. The window
    begins after a warm-up of KL weight and learning rate. Training stops when a fraction `share`
    of all scalars has. The pair then gets the averages over the window, and `fit.reason` is
    "stopped". If training ends otherwise, the pair keeps the last iterate.

    Parameters are compared and averaged as the optimizer sees them, unconstrained. Buffers such as
    running statistics keep their last values. Use a constant learning rate: one that falls to 0
    stops the iterates anywhere. The window, which is `window` copies of the parameters, is kept in
    memory and in checkpoints. If several callbacks restore weights, the last one in the list wins.

    Args:
        window: number of evaluations, at least 8.
        rhat: upper bound on split R-hat.
        error: upper bound on the standard error of an average, in the parameters' own units.
        effective: lower bound on the effective sample size of the window.
        share: the fraction of scalars that must have converged. Choose it below 1: of many
            scalars some exceed the bounds by chance.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> import ppvae
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> fit = ppvae.fit(pair, digits, epochs=3, callbacks=[Converged(window=50)])
        >>> fit.reason
        'finished'
    """

    def __init__(
        self,
        window: int = 100,
        *,
        rhat: float = 1.1,
        error: float = 0.02,
        effective: float = 20.0,
        share: float = 0.95,
    ) -> None:
        if window < 2 * FEWEST:
            raise ValueError(f"Converged needs window >= {2 * FEWEST}, got {window}")
        if not (rhat > 1 and error > 0 and effective > 0 and 0 < share <= 1):
            raise ValueError(
                "Converged needs rhat > 1, error > 0, effective > 0 and 0 < share <= 1, got "
                f"{rhat}, {error}, {effective} and {share}"
            )
        self.window = window
        self.rhat = rhat
        self.error = error
        self.effective = effective
        self.share = share
        self._forget()

    def _forget(self) -> None:
        self._training: Training | None = None
        self._iterates: list[Tensor] = []
        self._converged = False

    def state_dict(self) -> dict[str, Any]:
        """Return the window, and whether it has converged."""
        return {"iterates": list(self._iterates), "converged": self._converged}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Start the next training from a state that `state_dict` returned."""
        self._forget()
        self._iterates, self._converged = list(state["iterates"]), state["converged"]

    def __call__(self, training: Training) -> bool:
        """Return whether training should stop; set the averages when it has ended so."""
        if self._training not in (None, training):  # one object may serve several trainings
            self._forget()
        self._training = training
        if training.ended:
            if self._converged:
                training.restore(training.snapshot() | self._averages())
                training.kept_step = None
            self._forget()
            return False
        if training.warming_up:
            self._iterates = []
            return False
        values = [value.detach().flatten() for value in training.parameters.values()]
        self._iterates = [*self._iterates, torch.cat(values)][-self.window :]
        self._converged = len(self._iterates) == self.window and self._has_converged()
        return self._converged

    def _has_converged(self) -> bool:
        chain = torch.stack(self._iterates)[None]
        rhat = split_rhat(chain)
        constant = rhat.isnan()  # such as the weights of a dead unit
        converged = constant | (rhat < self.rhat)
        if converged.double().mean() < self.share:  # before the costlier computations
            return False
        converged &= constant | (effective_sample_size(chain) >= self.effective)
        converged &= constant | (monte_carlo_error(chain) < self.error)
        return bool(converged.double().mean() >= self.share)

    def _averages(self) -> Snapshot:
        assert self._training is not None
        parameters = self._training.parameters
        average = torch.stack(self._iterates).double().mean(0)
        parts = average.split([value.numel() for value in parameters.values()])
        return {
            name: part.reshape(value.shape).to(value.dtype)
            for (name, value), part in zip(parameters.items(), parts, strict=True)
        }
