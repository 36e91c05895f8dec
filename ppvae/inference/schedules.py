"""Schedules of the KL term's weight, each a function of the number of steps taken so far."""

import math


class LinearWarmup:
    """A weight that rises linearly from `start` to 1 over `steps` steps and stays there.

    weight(t) = start + (1 - start) min(1, t / steps)

    Keeps the KL term from switching latents off before the decoder can use them
    (Bowman et al., "Generating Sentences from a Continuous Space", 2016; Sonderby et al., "Ladder
    Variational Autoencoders", 2016).

    Args:
        steps: number of steps of the rise.
        start: the first weight.

    Raises:
        ValueError: if `steps` is not positive or `start` is outside [0, 1].

    Example:
        >>> warmup = LinearWarmup(steps=100)
        >>> warmup(0), warmup(50), warmup(1000)
        (0.0, 0.5, 1.0)
    """

    def __init__(self, steps: int, start: float = 0.0) -> None:
        if steps < 1:
            raise ValueError(f"LinearWarmup needs steps >= 1, got {steps}")
        _check_start("LinearWarmup", start)
        self.steps = steps
        self.start = start

    @property
    def end(self) -> int:
        """The step from which on the weight is 1."""
        return self.steps

    def __call__(self, step: int) -> float:
        """Return the weight at `step`."""
        return self.start + (1 - self.start) * min(1.0, step / self.steps)


class CyclicWarmup:
    """A weight that rises from `start` to 1 in each of several periods.

    weight(t) = start + (1 - start) min(1, (t mod steps) / (rise steps))

    for t < cycles steps, and 1 after that.

    (Fu et al., "Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing", 2019).

    Args:
        steps: number of steps of a period.
        cycles: number of periods.
        rise: the fraction of a period in which the weight rises; for the rest of it it is 1.
        start: the first weight of each period.

    Raises:
        ValueError: if `steps` or `cycles` is not positive, `rise` is outside (0, 1] or `start`
            outside [0, 1].

    Example:
        >>> cyclic = CyclicWarmup(steps=100, cycles=2)
        >>> cyclic(25), cyclic(75), cyclic(125), cyclic(200)
        (0.5, 1.0, 0.5, 1.0)
    """

    def __init__(self, steps: int, cycles: int = 4, rise: float = 0.5, start: float = 0.0) -> None:
        if steps < 1 or cycles < 1 or not 0 < rise <= 1:
            raise ValueError(
                "CyclicWarmup needs steps >= 1, cycles >= 1 and rise in (0, 1], got "
                f"{steps}, {cycles} and {rise}"
            )
        _check_start("CyclicWarmup", start)
        self.steps = steps
        self.cycles = cycles
        self.rise = rise
        self.start = start

    @property
    def end(self) -> int:
        """The step from which on the weight stays 1."""
        return self.steps * self.cycles

    def __call__(self, step: int) -> float:
        """Return the weight at `step`."""
        if step >= self.end:
            return 1.0
        position = math.fmod(step, self.steps) / (self.rise * self.steps)
        return self.start + (1 - self.start) * min(1.0, position)


def _check_start(name: str, start: float) -> None:
    if not 0 <= start <= 1:
        raise ValueError(f"{name} needs start in [0, 1], got {start}")
