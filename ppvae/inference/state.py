"""A training under way, as callbacks see it, and what `fit` returns."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
import xarray as xr
from torch import Tensor, nn

from ppvae.data import Dataset, html_table
from ppvae.engine import Pair
from ppvae.inference.history import Record

Snapshot: TypeAlias = dict[str, Tensor]
"""Copies of a pair's parameters and buffers by name."""


class Training:
    """A training under way.

    Attributes:
        pair: the pair that is trained.
        dataset: the dataset that it is trained on, if the data are one.
        parameters: its unconstrained parameters by name, wherever they live.
        step: number of optimizer steps taken.
        epoch: number of passes over the data completed.
        records: what each evaluation measured, the latest last.
        ended: whether training is over, for whatever reason.
        last_finite: the weights at the start of the last epoch whose first loss was finite.
        warmup: the step from which on the KL term has its whole weight, where that is known.
        kept_step: the step whose weights a callback has restored at the end, such as the best.
        why_stopped: why a callback has stopped the training, as a sentence; "" if not said.
    """

    def __init__(
        self,
        pair: Pair,
        parameters: Mapping[str, Tensor],
        warmup: int = 0,
        dataset: Dataset | None = None,
    ) -> None:
        self.pair = pair
        self.dataset = dataset
        self.parameters = parameters
        self.warmup = warmup
        self.step = 0
        self.epoch = 0
        self.records: list[Record] = []
        self.ended = False
        self.kept_step: int | None = None
        self.why_stopped = ""
        self.last_finite = self.snapshot()

    @property
    def warming_up(self) -> bool:
        """Whether the KL weight is still changing, or the learning rate has just risen."""
        if self.step < self.warmup:
            return True
        if len(self.records) < 2:
            return False
        before, now = self.records[-2:]
        rose = now.get("learning_rate", 0.0) > before.get("learning_rate", 0.0)
        return rose or now["kl_weight"] != before["kl_weight"]

    def snapshot(self) -> Snapshot:
        """Return a copy of all parameters and buffers."""
        return {name: tensor.detach().clone() for name, tensor in self._tensors()}

    def restore(self, snapshot: Snapshot) -> None:
        """Put a copy of parameters and buffers back."""
        with torch.no_grad():
            for name, tensor in self._tensors():
                tensor.copy_(snapshot[name])

    @property
    def tensors(self) -> list[Tensor]:
        """All parameters and buffers."""
        return [tensor for _, tensor in self._tensors()]

    @property
    def buffers(self) -> list[Tensor]:
        """All buffers, such as the running statistics of a normalization."""
        return list(self.pair.buffers()) if isinstance(self.pair, nn.Module) else []

    def finite(self) -> bool:
        """Tell whether every parameter is finite."""
        return all(bool(torch.isfinite(value).all()) for value in self.parameters.values())

    def restore_finite(self) -> None:
        """Put the last finite weights back if a parameter is not finite."""
        if not self.finite():
            self.restore(self.last_finite)

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.parameters.items()
        if isinstance(self.pair, nn.Module):
            yield from ((f"buffer {name}", buffer) for name, buffer in self.pair.named_buffers())


class Callback(Protocol):
    """Called with the training after every evaluation, and once more when it has ended.

    A callback with state may have `state_dict()` and `load_state_dict(state)`, as torch's
    optimizers do: checkpoints then hold its state. Its exceptions end training and reach the
    caller of `fit` as they are, with a note of the step.
    """

    def __call__(self, training: Training, /) -> bool | None:
        """Return True to stop; whatever else is returned, such as a number, does not stop."""


@dataclass(frozen=True, repr=False)
class Fit:
    """What `fit` returns.

    Attributes:
        pair: the trained pair, the same object that was passed.
        history: one entry an evaluation, over `step`: `epoch`, `seconds`, `learning_rate`,
            `kl_weight`, `train_loss` (the objective's running mean over the epoch),
            `validation_loss`, and for both splits `elbo`, `reconstruction` and `kl` under the
            weights at that step; in nats per datapoint.
        steps: number of optimizer steps taken.
        reason: "finished", "stopped" (by a callback), "interrupted" (by Ctrl-C, or
            by SIGTERM or SIGHUP) or "diverged".
        compiled_from: the first step (from 0) that ran as compiled code, if any; passed as
            `compile_from`, it repeats the training bit for bit.
        compilation: what was compiled, or why nothing was.
        converged: whether the ELBO (of validation data, if there are any) neither rose nor fell
            over the last fifth of the evaluations, by more than 0.05 nats per datapoint and two
            standard errors; None where that is not known.
        convergence: what was found of that, as a sentence.
        kept_step: the step whose weights the pair has, where a callback such as `EarlyStopping`
            restored the best ones; None where it has the last ones.
        scaling: how the terms of a minibatch were multiplied where all rows share latents, as a
            sentence; "" where nothing was.
    """

    pair: Pair
    history: xr.Dataset
    steps: int
    reason: str
    compiled_from: int | None = None
    compilation: str = ""
    converged: bool | None = None
    convergence: str = ""
    scaling: str = ""
    kept_step: int | None = None

    def __repr__(self) -> str:
        """Return how the training ended, in a few lines."""
        how = f"; {self.compilation}" if self.compilation else ""
        kept = "" if self.kept_step is None else f"; the best weights, of step {self.kept_step}"
        lines = [f"{self._title}{how}"]
        elbos = [f"{elbo:.2f} on {split} data" for split, elbo in self._elbos().items()]
        if elbos:
            lines.append(f"ELBO {', '.join(elbos)}, in nats per datapoint{kept}")
        return "\n".join([*lines, *filter(None, (self.convergence, self.scaling))])

    def _repr_html_(self) -> str:
        """Return how the training ended as a table, which notebooks show."""
        return html_table(f"Fit: {self._title}", self._facts())

    @property
    def _title(self) -> str:
        last = self.history.isel(step=-1) if self.history.sizes.get("step") else None
        passes = "" if last is None else f", {int(last.epoch)} epochs"
        return f"{self.reason} after {self.steps} steps{passes}"

    def _elbos(self) -> dict[str, float]:
        """Return the finite ELBOs under the weights that the pair has, by split."""
        if not self.history.sizes.get("step"):
            return {}
        kept = self.kept_step
        at = self.history.isel(step=-1) if kept is None else self.history.sel(step=kept)
        names = {"training": "train_elbo", "validation": "validation_elbo"}
        elbos = {split: float(at[name]) for split, name in names.items() if name in at}
        return {split: elbo for split, elbo in elbos.items() if math.isfinite(elbo)}

    def _facts(self) -> Iterator[tuple[str, str]]:
        yield "pair", type(self.pair).__name__
        for split, elbo in self._elbos().items():
            yield f"ELBO, {split} data", f"{elbo:.2f} nats per datapoint"
        best = self.history.get("validation_elbo")
        if best is not None and best.notnull().any():
            step = int(best.idxmax())
            yield "best validation ELBO", f"{float(best.sel(step=step)):.2f}, at step {step}"
        kept = "the last" if self.kept_step is None else f"the best, of step {self.kept_step}"
        yield "weights", kept
        if "seconds" in self.history:
            yield "time", f"{float(self.history.seconds[-1]):.1f} s"
        others = {
            "compiled": self.compilation,
            "convergence": self.convergence,
            "minibatches": self.scaling,
        }
        yield from ((name, text) for name, text in others.items() if text)


class Diverged(FloatingPointError):
    """Training met a NaN or infinite loss or gradient.

    Attributes:
        fit: the history so far. The pair has the weights from the start of the last epoch whose
            first loss was finite, or those that a callback such as `EarlyStopping` restored.
        cause: what was NaN or infinite, as a sentence.
    """

    def __init__(self, message: str, fit: Fit, cause: str = "") -> None:
        super().__init__(message)
        self.fit = fit
        self.cause = cause
