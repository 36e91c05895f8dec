"""An objective's loss and gradients as a program to be captured."""

from collections.abc import Sequence
from typing import Any

import torch
from pyro.infer import ELBO
from torch import Tensor

from ppvae.engine.compilation.capture_error import CaptureError
from ppvae.engine.compilation.reads import CaptureMode
from ppvae.engine.pyro_internals import put_back, stored


def loss_of(objective: ELBO, model: Any, guide: Any, *args: Any, **kwargs: Any) -> list[Tensor]:
    """Return the loss of an objective, one number or several, as tensors without gradients."""
    with torch.no_grad():
        return _tensors(objective.loss(model, guide, *args, **kwargs))


def loss_and_gradients(
    mode: CaptureMode,
    objective: ELBO,
    parameters: Sequence[Tensor],
    model: Any,
    guide: Any,
    *args: Any,
    **kwargs: Any,
) -> tuple[list[Tensor], list[Tensor | None]]:
    """Return the loss and the gradients that `loss_and_grads` would add to `parameters`.

    Args:
        mode: the capture; it records what `backward` was called on.
        objective: any of Pyro's or ours; its code runs unchanged.
        parameters: the unconstrained tensors to differentiate by.
        model: the model.
        guide: the guide.
        args: what both are called with.
        kwargs: likewise.

    Raises:
        CaptureError: if the objective keeps something in Pyro's store from step to step, or there
            is nothing to differentiate by.
    """
    if not parameters:
        raise CaptureError(
            "the programs announce no parameter to Pyro; call pyro.module or pyro.param in them"
        )
    held = stored()
    with torch.enable_grad():
        losses = _tensors(objective.loss_and_grads(model, guide, *args, **kwargs))
    now = stored()
    replaced = [name for name in {**held, **now} if now.get(name) is not held.get(name)]
    if replaced:
        put_back(held)
        raise CaptureError(
            f"the objective writes {replaced[0]!r} to Pyro's parameter store at every step; a "
            "baseline can be a network instead of a decaying average"
        )
    if not mode.surrogates:
        return losses, [None] * len(parameters)
    surrogate = torch.stack([value.sum() for value in mode.surrogates]).sum()
    if len(mode.surrogates) == 1:
        (surrogate,) = mode.surrogates
    return losses, list(torch.autograd.grad(surrogate, parameters, allow_unused=True))


def _tensors(loss: Any) -> list[Tensor]:
    return [torch.as_tensor(value) for value in (loss if isinstance(loss, tuple) else (loss,))]
