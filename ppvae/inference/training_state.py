"""All that the next step of a training depends on, and how a checkpoint holds it."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from ppvae.engine import (
    Processes,
    RandomState,
    first_line,
    noted,
    random_state,
    random_state_as_json,
    random_state_from_json,
    set_random_state,
)
from ppvae.inference.learning_rate import LearningRate
from ppvae.inference.persistence import Checkpoints, State, as_columns, as_records
from ppvae.inference.state import Callback, Training
from ppvae.inference.steps import CompiledSteps, JointOptim, Minibatches

_RENAMED = {"good": "last_finite", "begun": "epoch_random_state"}  # keys that 0.1 wrote


class TrainingState:
    """Where a training stands, beside what `Training` shows to callbacks.

    Attributes:
        training: the training under way.
        losses: rows and loss of each step since the last evaluation.
        evaluated: the step of the last evaluation.
        position: number of minibatches of this epoch that are done.
        epoch_random_state: the random state at the start of this epoch.
        reason: why training ended, as `Fit` says it.
    """

    def __init__(
        self,
        training: Training,
        steps: CompiledSteps,
        batches: Minibatches,
        rate: LearningRate,
        callbacks: Sequence[Callback],
        seed: int,
        processes: Processes,
    ) -> None:
        self.training = training
        self.losses: list[tuple[int, float]] = []
        self.evaluated = 0
        self.position = 0
        self.epoch_random_state: RandomState | None = None
        self.reason = "finished"
        self._started = time.perf_counter()
        self._steps = steps
        self._batches = batches
        self._rate = rate
        self._callbacks = callbacks
        self._seed = seed
        self._processes = processes

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before a checkpoint included."""
        return time.perf_counter() - self._started

    def as_dict(self) -> State:
        """Return the state for a checkpoint."""
        training, steps, schedule = self.training, self._steps, self._rate.schedule
        begun = self.epoch_random_state
        common = self._processes.common
        draws = self._processes.gathered(random_state_as_json(random_state()))
        return {
            "made of": self._made_of(),
            "step": training.step,
            "epoch": training.epoch,
            "position": self.position,
            "evaluated": self.evaluated,
            "losses": torch.tensor(self.losses, dtype=torch.float64).reshape(-1, 2),
            "kl_weight": float(steps.kl_weight.value),
            "switched": steps.compiled_from,
            "reason": self.reason,
            "seconds": self.seconds,
            "records": as_columns(training.records),
            "weights": training.snapshot(),
            "last_finite": training.last_finite,
            "optimizer": steps.optim.get_state(),
            "schedule": None if schedule is None else schedule.state_dict(),
            "schedule given": self._rate.given,
            "schedule each step": self._rate.each_step,
            "callbacks": [self._state_of(callback) for callback in self._callbacks],
            "epoch_random_state": None if begun is None else random_state_as_json(begun),
            "random": draws[0],
            # Of several processes: what they draw in common, and each of the others.
            "random in common": None if common is None else random_state_as_json(common),
            "random of others": draws[1:],
        }

    def restore(self, checkpoints: Checkpoints) -> None:
        """Go on from a checkpoint.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it is damaged, or that of another training.
        """
        state = {_RENAMED.get(key, key): value for key, value in checkpoints.read().items()}
        try:
            self._check_made_of(state["made of"], checkpoints)
            self._check_options(state, checkpoints)
            self._restore_steps(state)
            training = self.training
            training.restore(state["weights"])
            training.step, training.epoch = state["step"], state["epoch"]
            training.records.extend(as_records(state["records"]))
            training.last_finite = state["last_finite"]
            losses = torch.as_tensor(state["losses"], dtype=torch.float64).reshape(-1, 2)
            if bool((losses[:, 0] < 1).any()):
                raise TypeError("a loss is that of no rows")
            self.losses = [(int(rows), loss) for rows, loss in losses.tolist()]
            self.position, self.evaluated = state["position"], state["evaluated"]
            if not self.evaluated <= training.step <= self.evaluated + len(self.losses):
                raise TypeError(
                    f"it has {len(self.losses)} losses since step {self.evaluated!s:.20}, at step "
                    f"{training.step!s:.20}"
                )
            begun = state["epoch_random_state"]
            self.epoch_random_state = None if begun is None else random_state_from_json(begun)
            self.reason = state["reason"]
            self._started -= state["seconds"]
            of_callbacks = list(zip(self._callbacks, state["callbacks"], strict=True))
            self._restore_draws(state)
        except (LookupError, TypeError, AttributeError, OverflowError, RuntimeError) as error:
            raise ValueError(
                f"the checkpoint in {checkpoints.folder} does not fit this training: "
                f"{first_line(error):.300}"
            ) from error
        for callback, saved in of_callbacks:
            if saved is not None and hasattr(callback, "load_state_dict"):
                with noted(f"in {name_of(callback)}.load_state_dict(), from {checkpoints.folder}"):
                    callback.load_state_dict(saved)

    def _restore_draws(self, state: State) -> None:
        """Restore the random numbers; those of another number of processes are begun anew."""
        processes = self._processes
        draws = [state["random"], *state.get("random of others", [])]
        common = state.get("random in common") or state["random"]
        if processes.number == len(draws):
            set_random_state(random_state_from_json(draws[processes.rank]))
            processes.common = random_state_from_json(common) if processes.several else None
            return
        set_random_state(random_state_from_json(common))
        if processes.several:
            processes.divide_draws(self._seed + self.training.step)

    def _restore_steps(self, state: State) -> None:
        """Restore optimizer, schedule, KL weight and compilation."""
        self._steps.optim.set_state(state["optimizer"])
        if self._rate.schedule is not None:
            self._rate.schedule.load_state_dict(state["schedule"])
            self._rate.each_step = state.get("schedule each step", False)
        self._steps.kl_weight.value.fill_(state["kl_weight"])
        self._steps.resume(state.get("switched"))

    def _state_of(self, callback: Callback) -> Any:
        if not hasattr(callback, "state_dict"):
            return None
        with noted(f"in {name_of(callback)}.state_dict() after step {self.training.step}"):
            return callback.state_dict()

    def _made_of(self) -> dict[str, Any]:
        """Return what must be the same for a training to go on."""
        return {
            "parameters": {
                name: list(tensor.shape) for name, tensor in self.training.parameters.items()
            },
            "rows of data": self._batches.rows,
            "steps an epoch": self._batches.steps,
            "blocks and rows of a buffer": getattr(self._batches, "mixing", None),
            "seed": self._seed,
            "optimizer": type(self._steps.optim.optimizer).__name__,
            "schedule": type(self._rate.schedule).__name__,
            "number of callbacks": len(self._callbacks),
        }

    def _check_made_of(self, saved: dict[str, Any], checkpoints: Checkpoints) -> None:
        for what, now in self._made_of().items():
            if saved.get(what, now) != now:
                raise ValueError(
                    f"{checkpoints.folder} is the checkpoint of another training, with {what} "
                    f"{saved[what]!s:.300}, not {now!s:.300}"
                )

    def _check_options(self, state: State, checkpoints: Checkpoints) -> None:
        """Refuse changed options of optimizer or schedule with which a training cannot go on."""
        optim, schedule = self._steps.optim, self._rate.schedule
        assert isinstance(optim, JointOptim)
        kind = type(optim.optimizer).__name__
        scheduled = set() if schedule is None else {"lr"}
        if getattr(schedule, "cycle_momentum", False):
            scheduled |= {"betas", "momentum"}
        advice = "continue with that, or train the pair on without resume"
        began = f"the {kind} of the checkpoint in {checkpoints.folder} began with "
        for option, before, now in optim.changed_options(state["optimizer"]):
            if option in scheduled:
                raise ValueError(
                    f"{began}{option}={before}, not {now}, and the {type(schedule).__name__} goes "
                    f"on from it; {advice}"
                )
            switched = option == "momentum" and kind != "SGD" and bool(before) is not bool(now)
            if option in ("amsgrad", "centered") or switched:
                raise ValueError(
                    f"{began}{option}={before}, not {now}, and has kept another state for it; "
                    f"{advice}"
                )
        then, here = state.get("schedule given"), self._rate.given
        if then is None or here is None:
            return
        for key, value in here.items():
            if then.get(key) != value:
                raise ValueError(
                    f"the {type(schedule).__name__} of the checkpoint in {checkpoints.folder} was "
                    f"made with {key}={then.get(key)}, not {value}; {advice}"
                )


def name_of(callback: Callback) -> str:
    """Return what to call a callback in a message: the name of the function or of the class."""
    return str(getattr(callback, "__qualname__", type(callback).__qualname__))
