"""A learning rate that falls to 0 over a whole training."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler


class CosineDecay(LRScheduler):
    """A learning rate that falls to 0 along half a cosine, over a training of any length.

        rate(t) = rate(0) (1 + cos(pi t / T)) / 2,    T the number of steps of the training

    `fit` says T, and steps the schedule at every step; where the number of steps is not known, T
    counts epochs. A resumed training that is longer than before follows the curve of its own
    length from there on. Without `fit`, pass `steps`
    (Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017).

    Args:
        optimizer: the torch optimizer.
        steps: the number T; that of the training unless given.

    Raises:
        ValueError: if `steps` is not positive; at the first step, if it is not known.

    Example:
        >>> import ppvae
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> fit = ppvae.fit(pair, digits, epochs=2, schedule=CosineDecay)
        >>> [round(float(rate), 6) for rate in fit.history.learning_rate]
        [0.0005, 0.0]
    """

    def __init__(self, optimizer: torch.optim.Optimizer, steps: int | None = None) -> None:
        if steps is not None and steps < 1:
            raise ValueError(f"CosineDecay needs steps >= 1, got {steps}")
        self.steps = steps
        super().__init__(optimizer)

    def of_length(self, steps: int) -> None:
        """Take the length of the training, unless one was given."""
        self.steps = steps if self.steps is None else self.steps

    def get_lr(self) -> list[float | Tensor]:
        """Return the present rate of each group of parameters."""
        if self.steps is None and self.last_epoch > 0:
            raise ValueError("CosineDecay does not know how many steps it falls over; pass steps")
        done = min(1.0, self.last_epoch / (self.steps or 1))
        return [rate * (1 + math.cos(math.pi * done)) / 2 for rate in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Return all but the length, which may be another one when a training is resumed."""
        return {name: value for name, value in super().state_dict().items() if name != "steps"}
