"""Finds the site that makes a loss NaN or infinite."""

from typing import Any

import pyro
import pyro.poutine as poutine
import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.trace_messenger import TraceMessenger
from torch import Tensor
from torch.distributions.constraints import is_dependent

from ppvae.engine import Batch, Pair, isolated, support_text

ADVICE = "Try a smaller learning rate, clip_norm, or data of unit scale."


class _Watch(Messenger):  # type: ignore[misc]
    """Finds the first site whose distribution, value or log density is NaN or infinite."""

    def __init__(self) -> None:
        super().__init__()
        self.finding: str | None = None
        self.data_at_fault = False

    def _pyro_post_sample(self, message: Any) -> None:
        if self.finding is not None or not hasattr(message["fn"], "log_prob"):
            return
        name, value = message["name"], message["value"]
        base = message["fn"]
        while hasattr(base, "base_dist"):
            base = base.base_dist
        family = type(base).__name__.lstrip("_")
        for argument, constraint in getattr(base, "arg_constraints", {}).items():
            parameter = base.__dict__.get(argument)  # not what a property would compute from it
            if not isinstance(parameter, Tensor):
                continue
            if not bool(torch.isfinite(parameter).all()):
                self.finding = f"{argument} of {family} at site {name!r} is NaN or infinite."
                return
            if not is_dependent(constraint) and not bool(constraint.check(parameter).all()):
                worst = f"{float(parameter.min()):.3g} to {float(parameter.max()):.3g}"
                self.finding = (
                    f"{argument} of {family} at site {name!r} lies between {worst}, outside its "
                    f"range {support_text(constraint)}."
                )
                return
        support = getattr(message["fn"], "support", None)
        if message["is_observed"] and support is not None:
            inside = support.check(value)
            if not bool(inside.all()):
                self.data_at_fault = True
                self.finding = (
                    f"{int((~inside).sum())} of {inside.numel()} observations of site {name!r} "
                    f"lie outside the support of {family}, {support_text(base.support)}; choose a "
                    "likelihood for such data"
                )
                return
        log_prob = message["fn"].log_prob(value)
        if not bool(torch.isfinite(log_prob).all()):
            self.finding = f"log_prob of {family} at site {name!r} is NaN or infinite."


def explain(pair: Pair, batch: Batch, error: Exception) -> str | None:
    """Say at which site a step on `batch` failed and why; None if it did not fail numerically.

    Args:
        pair: the pair, with the weights of the failed step if these are finite, else with the
            last finite ones.
        batch: the batch of the failed step.
        error: what the step raised.

    Raises:
        ValueError: if the data of the batch lie outside their likelihood's support, or the pair
            itself refuses them.
    """
    watch, recorder = _Watch(), TraceMessenger()
    refusal: ValueError | None = None
    try:
        with isolated(pair, seed=0), pyro.validation_enabled(False), watch:
            with recorder:  # `poutine.trace(pair.guide)` would change the guide's exceptions
                pair.guide(*batch)
            poutine.replay(pair.model, trace=recorder.trace)(*batch)
    except Exception as stopped:
        # A NaN can stop a program early: what was found before holds. Whatever else stops it is
        # no numeric failure, and then the caller raises `error` itself.
        refusal = stopped if isinstance(stopped, ValueError) else None
    if watch.data_at_fault:
        raise ValueError(watch.finding) from None
    if watch.finding is not None:
        return f"{watch.finding} {ADVICE}"
    if isinstance(error, FloatingPointError):
        if refusal is not None:  # compiled code skips the checks that the pair makes in Python
            raise refusal
        return f"{error}, although every site is finite at another draw. {ADVICE}"
    return None
