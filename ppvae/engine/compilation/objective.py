"""An objective's loss and gradients as a program to be captured."""

from collections.abc import Sequence
from typing import Any

import pyro
import torch
from pyro.infer import ELBO
from torch import Tensor

from ppvae.engine.compilation.reads import Watch
from ppvae.engine.compilation.refusal import Refused


def loss_of(objective: ELBO, model: Any, guide: Any, *args: Any, **kwargs: Any) -> list[Tensor]:
    """Return the loss of an objective, a number or several, as tensors and without gradients."""
    with torch.no_grad():
        return _tensors(objective.loss(model, guide, *args, **kwargs))


def loss_and_gradients(
    watch: Watch,
    objective: ELBO,
    parameters: Sequence[Tensor],
    model: Any,
    guide: Any,
    *args: Any,
    **kwargs: Any,
) -> tuple[list[Tensor], list[Tensor | None]]:
    """Return loss and gradients as `loss_and_grads` would have left them in `parameters`.

    Args:
        watch: over the capture; it has what `backward` was called on.
        objective: any of Pyro's or ours; its code runs as it is.
        parameters: the unconstrained tensors to derive by.
        model: the model.
        guide: the guide.
        args: what both are called with.
        kwargs: likewise.

    Raises:
        Refused: if the objective keeps something in Pyro's store from step to step.
    """
    store = pyro.get_param_store()
    held = dict(store._params)
    with torch.enable_grad():
        losses = _tensors(objective.loss_and_grads(model, guide, *args, **kwargs))
    if any(store._params.get(name) is not value for name, value in held.items()) or len(
        store._params
    ) != len(held):
        store._params.clear()
        store._params.update(held)
        raise Refused("the objective writes to Pyro's parameter store at every step")
    if not watch.surrogates:
        return losses, [None] * len(parameters)
    surrogate = torch.stack([value.sum() for value in watch.surrogates]).sum()
    if len(watch.surrogates) == 1:
        (surrogate,) = watch.surrogates
    return losses, list(torch.autograd.grad(surrogate, parameters, allow_unused=True))


def _tensors(loss: Any) -> list[Tensor]:
    return [torch.as_tensor(value) for value in (loss if isinstance(loss, tuple) else (loss,))]
