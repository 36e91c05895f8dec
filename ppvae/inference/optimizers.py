"""One torch optimizer over all parameters, behind Pyro's interface."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import torch
from pyro.optim import PyroOptim
from torch import Tensor

Constructor: TypeAlias = Callable[..., torch.optim.Optimizer]
"""Builds a torch optimizer from parameters: a class, a `functools.partial` of one, a function."""


class JointOptim(PyroOptim):  # type: ignore[misc]
    """A `PyroOptim` that steps all parameters with one torch optimizer.

    Pyro's own optimizers build one torch optimizer a parameter; one for all, fused where torch
    can, takes a fraction of the time and clips by the norm of the whole gradient.

    Args:
        constructor: builds the torch optimizer from parameters; `fused=True` is added where it
            can be.
        parameters: parameters known beforehand, by name; others join when they are first met.
        clip_norm: the gradient of the minibatch's summed loss is scaled down to this norm.

    Raises:
        ValueError: if `clip_norm` is not positive.
        FloatingPointError: on a step whose gradient is NaN or infinite; nothing is moved then.

    Example:
        >>> import functools, pyro.infer, ppvae
        >>> from ppvae import data, pairs
        >>> pair = pairs.assemble(data.digits(), latent=2)
        >>> optim = JointOptim(functools.partial(torch.optim.Adam, lr=1e-3))
        >>> elbo = pyro.infer.Trace_ELBO()
        >>> svi = pyro.infer.SVI(pair.model, pair.guide, optim, elbo)
        >>> svi.step(data.digits().train[:128]) > 0
        True
    """

    def __init__(
        self,
        constructor: Constructor,
        parameters: Mapping[str, Tensor] | None = None,
        *,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(constructor, {})
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"clip_norm must be positive, got {clip_norm}")
        self.clip_norm = clip_norm
        self.optimizer: torch.optim.Optimizer | None = None
        self._known: dict[Tensor, None] = {}
        if parameters:
            self._join(parameters.values())

    def __call__(self, params: Iterable[Tensor], *args: Any, **kwargs: Any) -> None:
        """Take one step with the gradients of `params`, then drop them."""
        current = set(params)
        self._join(current - self._known.keys())
        if self.optimizer is None:
            return
        for parameter in self._known.keys() - current:
            parameter.grad = None
        gradients = [p.grad for p in self._known if p.grad is not None]
        if gradients:
            norm = self._norm(gradients)
            if not math.isfinite(norm):
                raise FloatingPointError("the gradient is NaN or infinite")
            if self.clip_norm is not None and norm > self.clip_norm:
                torch._foreach_mul_(gradients, self.clip_norm / norm)
            self.optimizer.step()
        # Cleared here, the next backward pass writes gradients instead of adding to zeros.
        self.optimizer.zero_grad(set_to_none=True)

    def _norm(self, gradients: list[Tensor]) -> float:
        norms = torch.stack([norm.double() for norm in torch._foreach_norm(gradients)])
        # fsum rounds once: the sum is the same in whatever order Pyro hands the parameters over.
        return math.sqrt(math.fsum(norms.square().tolist()))

    def _join(self, parameters: Iterable[Tensor]) -> None:
        new = list(parameters)
        if not new:
            return
        self._known.update(dict.fromkeys(new))
        if self.optimizer is None:
            self.optimizer = _build(self.pt_optim_constructor, new)
        else:
            self.optimizer.add_param_group({"params": new})

    def get_state(self) -> dict[str, Any]:
        """Return the torch optimizer's `state_dict`."""
        return {} if self.optimizer is None else self.optimizer.state_dict()

    def set_state(self, state_dict: dict[str, Any]) -> None:
        """Load the torch optimizer's `state_dict`; its parameters must be known.

        Raises:
            ValueError: if no parameter is known yet.
        """
        if self.optimizer is None:
            raise ValueError("JointOptim needs parameters before it can take a state")
        self.optimizer.load_state_dict(state_dict)


def _build(constructor: Constructor, parameters: list[Tensor]) -> torch.optim.Optimizer:
    chosen = getattr(constructor, "keywords", {}).get("fused") is not None
    if not chosen and all(parameter.is_floating_point() for parameter in parameters):
        try:
            return constructor(parameters, fused=True)
        except (TypeError, RuntimeError):
            pass  # this optimizer, or this device, has no fused form
    return constructor(parameters)
