"""Finds the site behind a loss that is not finite."""

from typing import Any

import pyro
import pyro.poutine as poutine
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions.constraints import is_dependent

from ppvae.engine import Batch, Pair, isolated, support_text

_ADVICE = "Try a smaller learning rate, clip_norm, or data of unit scale."


class _Watch(Messenger):  # type: ignore[misc]
    """Remembers the first site whose distribution, value or log density is not finite."""

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
        pair: the pair, its weights those of the failed step if they are finite, else the last
            that were.
        batch: the batch of the failed step.
        error: what the step raised.

    Raises:
        ValueError: if the data of the batch lie outside their likelihood's support, or the pair
            refuses them.
    """
    watch, refusal = _Watch(), None
    try:
        with isolated(pair, seed=0), pyro.validation_enabled(False), watch:
            guide = poutine.trace(pair.guide).get_trace(*batch)
            poutine.replay(pair.model, trace=guide)(*batch)
    except (RuntimeError, ValueError, TypeError, IndexError) as stopped:
        # A NaN, or whatever was wrong, can stop a program on its way; the finding stands.
        refusal = stopped if isinstance(stopped, ValueError) else None
    if watch.data_at_fault:
        raise ValueError(watch.finding) from None
    if watch.finding is not None:
        return f"{watch.finding} {_ADVICE}"
    if isinstance(error, FloatingPointError):
        if refusal is not None:  # with its code the pair could not say so itself
            raise ValueError(str(refusal)) from None
        return f"{error}, although every site is finite at another draw. {_ADVICE}"
    return None
