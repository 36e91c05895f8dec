"""When a learning-rate schedule takes its steps, and whether its length fits the training."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import torch
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ppvae.inference.cosine_decay import CosineDecay
from ppvae.inference.schedules import CyclicWarmup, LinearWarmup

Schedule: TypeAlias = Callable[[torch.optim.Optimizer], LRScheduler]
"""Called with a torch optimizer, returns a torch learning-rate schedule."""


class EachStep:
    """A learning-rate schedule that is stepped after every step of the optimizer.

    Without it `fit` steps a schedule after every epoch.

    Args:
        schedule: called with the torch optimizer, returns a torch learning-rate schedule.

    Raises:
        TypeError: if `schedule` cannot be called.
        ValueError: when called, if the schedule is a `ReduceLROnPlateau`, which needs evaluations.

    Example:
        >>> import functools, ppvae
        >>> from ppvae import data, pairs
        >>> warmup = functools.partial(torch.optim.lr_scheduler.LinearLR, total_iters=6)
        >>> pair, digits = pairs.assemble(data.digits(), latent=2), data.digits()
        >>> fit = ppvae.fit(pair, digits, epochs=1, schedule=EachStep(warmup))
        >>> float(fit.history.learning_rate[-1])
        0.001
    """

    def __init__(self, schedule: Schedule) -> None:
        if not callable(schedule):
            raise TypeError(
                "EachStep needs a function or class that returns a torch learning-rate schedule, "
                f"got {type(schedule).__name__}"
            )
        self.schedule = schedule

    def __call__(self, optimizer: torch.optim.Optimizer) -> LRScheduler:
        """Return the schedule of an optimizer."""
        made = self.schedule(optimizer)
        if isinstance(made, ReduceLROnPlateau):
            raise ValueError(
                "ReduceLROnPlateau is stepped after every evaluation; pass it without EachStep"
            )
        return made


class _Length(NamedTuple):
    """How many steps of its own a schedule is made for.

    Attributes:
        argument: the argument that says so.
        steps: their number.
        whole: whether the rate must end there; otherwise it may stay as it is afterwards.
    """

    argument: str
    steps: int
    whole: bool


_WHOLE: dict[type, str] = {
    lr_scheduler.OneCycleLR: "total_steps",
    lr_scheduler.CosineAnnealingLR: "T_max",
    lr_scheduler.PolynomialLR: "total_iters",
    CosineDecay: "steps",
}
_PART: dict[type, str] = {
    lr_scheduler.LinearLR: "total_iters",
    lr_scheduler.ConstantLR: "total_iters",
    lr_scheduler.StepLR: "step_size",
    lr_scheduler.CyclicLR: "total_size",
    lr_scheduler.CosineAnnealingWarmRestarts: "T_0",
}


class LearningRate:
    """The learning-rate schedule of a training, if it has one.

    A schedule is stepped after every epoch, a `ReduceLROnPlateau` after every evaluation. One
    whose length is the number of the training's steps, and not that of its epochs, is stepped
    after every step, as are an `EachStep` and a `CosineDecay`.

    Args:
        make: called with the optimizer, returns the schedule.
        optimizer: the torch optimizer.
        epochs: passes of the whole training, if known.
        steps: steps of the whole training, if known.

    Attributes:
        schedule: the torch schedule.
        each_step: whether it is stepped after every step.
    """

    def __init__(
        self,
        make: Schedule | None,
        optimizer: torch.optim.Optimizer | None,
        epochs: int | None,
        steps: int | None,
    ) -> None:
        self.schedule: LRScheduler | None = None
        if make is not None:
            assert optimizer is not None
            self.schedule = make(optimizer)
        self._epochs, self._steps = epochs, steps
        if isinstance(self.schedule, CosineDecay) and (steps or epochs) is not None:
            self.schedule.of_length(steps or epochs or 1)
        lengths = _lengths(self.schedule)
        longest = max((length.steps for length in lengths), default=None)
        by_step = longest is not None and _fits(longest, steps) and not _fits(longest, epochs)
        self.each_step = isinstance(make, EachStep) or by_step
        self.given = _plain(self.schedule.state_dict()) if self.schedule is not None else None

    @property
    def on_evaluations(self) -> bool:
        """Whether the schedule is stepped after every evaluation, by the validation loss."""
        return isinstance(self.schedule, ReduceLROnPlateau)

    def after_step(self) -> None:
        """Step the schedule if it is stepped after every step."""
        if self.each_step:
            self._step()

    def after_epoch(self) -> None:
        """Step the schedule if it is stepped after every epoch."""
        if not self.each_step and not self.on_evaluations:
            self._step()

    def after_evaluation(self, loss: float) -> None:
        """Step the schedule if it is stepped after every evaluation."""
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(loss)

    def _step(self) -> None:
        schedule = self.schedule
        if schedule is None:
            return
        if isinstance(schedule, lr_scheduler.OneCycleLR):
            if schedule.last_epoch >= schedule.total_steps - 1:
                return  # its last rate; torch raises at further steps
        schedule.step()

    def check(self) -> None:
        """Warn if the schedule's length does not fit the training.

        Raises:
            ValueError: if the training has more steps than a schedule that ends has.
        """
        count = self._steps if self.each_step else self._epochs
        if count is None:
            return
        name = type(self.schedule).__name__
        when = "a step" if self.each_step else "an epoch"
        advice = f"give it a length of {count}"
        if not self.each_step:
            of_steps = "" if self._steps is None else f" of {self._steps}"
            advice += f", or pass inference.EachStep(...) to step it at every step{of_steps}"
        for argument, steps, whole in _lengths(self.schedule):
            if _fits(steps, count) or (steps < count and not whole):
                continue
            message = (
                f"{name} has {argument}={steps}, but this training steps it {count} times, once "
                f"{when}; {advice}"
            )
            if isinstance(self.schedule, lr_scheduler.OneCycleLR) and steps < count:
                raise ValueError(message)
            warnings.warn(message, UserWarning, stacklevel=3)


def check_warmup(weight: object, steps: int | None) -> int:
    """Return the step from which on the KL weight is 1; 0 where it has no known warm-up.

    Warns if that is after the end of a training of `steps` steps.
    """
    if not isinstance(weight, LinearWarmup | CyclicWarmup):
        return 0
    if steps is not None and weight.end > steps:
        warnings.warn(
            f"kl_weight is a {type(weight).__name__} of {weight.end} steps, but this training has "
            f"{steps}: it ends before the KL term has its whole weight; choose fewer steps for it",
            UserWarning,
            stacklevel=3,
        )
    return weight.end


def _fits(length: int, count: int | None) -> bool:
    """Tell whether a length is a number of steps, up to one or a tenth."""
    return count is not None and abs(length - count) <= max(1, count // 10)


def _lengths(schedule: Any) -> list[_Length]:
    """Return the lengths that a schedule and its parts have, those without end left out."""
    if isinstance(schedule, lr_scheduler.SequentialLR):
        start = schedule._milestones[-1] if schedule._milestones else 0
        parts = _lengths(schedule._schedulers[-1])
        return [
            _Length(f"milestones and {argument} of together ", start + steps, whole)
            for argument, steps, whole in parts
        ] or [_Length("a last milestone ", start, False)]
    if isinstance(schedule, lr_scheduler.ChainedScheduler):
        return [length for part in schedule._schedulers for length in _lengths(part)]
    if isinstance(schedule, lr_scheduler.MultiStepLR):
        return [_Length("a first milestone ", min(schedule.milestones, default=0), False)]
    for lengths, whole in ((_WHOLE, True), (_PART, False)):
        argument = lengths.get(type(schedule))
        if argument is not None:
            return [_Length(argument, int(getattr(schedule, argument)), whole)]
    return []


def _plain(value: Any) -> Any:
    """Return a copy of what numbers and texts a schedule's state holds."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, torch.Tensor):
        return value.tolist()
    return value if isinstance(value, bool | int | float | str) else None
