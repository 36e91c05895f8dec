"""One torch optimizer over all parameters, behind Pyro's interface."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import torch
from pyro.optim import PyroOptim
from torch import Tensor

from ppvae.engine.compilation import (
    add_to_each,
    import_compiler,
    multiply_each,
    norm_of_each,
)

Constructor: TypeAlias = Callable[..., torch.optim.Optimizer]
"""Builds a torch optimizer from parameters: a class, a `functools.partial` of one, a function."""


Options: TypeAlias = dict[str, Any]
"""The options of a torch optimizer's parameter group by name, such as "lr"."""


class JointOptim(PyroOptim):  # type: ignore[misc]
    """A `PyroOptim` that steps all parameters with one torch optimizer.

    Pyro's own optimizers build one torch optimizer for each parameter. One for all, fused where
    torch can, takes a fraction of the time and clips by the norm of the whole gradient.

    Args:
        constructor: builds the torch optimizer from parameters; `fused=True` is added where it
            is possible.
        parameters: parameters known beforehand, by name; only their state can be saved and
            restored. Others are added at their first step.
        clip_norm: the gradient of the minibatch's summed loss is scaled down to this norm.

    Raises:
        ValueError: if `clip_norm` is not positive.
        FloatingPointError: on a step whose gradient is NaN or infinite; no parameter changes.

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
        self._given: list[Options] = []  # of each group, as constructed: before any schedule
        self.steps = 0  # taken so far, compiled ones included
        self._counted = 0  # of these, steps that the torch optimizer's own counters contain
        self._known: dict[Tensor, str | None] = {}
        self._join({parameter: name for name, parameter in (parameters or {}).items()})

    def __call__(self, params: Iterable[Tensor], *args: Any, **kwargs: Any) -> None:
        """Take one step with the gradients of `params`, then drop them."""
        current = set(params)
        self._join(dict.fromkeys(current - self._known.keys()))
        if self.optimizer is None:
            return
        for parameter in self._known.keys() - current:
            parameter.grad = None
        for parameter in current:
            # Pyro's own loop goes on with a gradient of 0 where a batch leaves a parameter out.
            if parameter.grad is None and parameter in self.optimizer.state:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in self._known if p.grad is not None]
        if gradients:
            norm = self._norm(gradients)
            if not math.isfinite(norm):
                raise FloatingPointError("the gradient is NaN or infinite")
            if self.clip_norm is not None and norm > self.clip_norm:
                multiply_each(gradients, self.clip_norm / norm)
            self.sync_counters()
            self.optimizer.step()
            self.steps += 1
            self._counted += 1
        # Cleared here, the next backward pass writes gradients instead of adding to zeros.
        self.optimizer.zero_grad(set_to_none=True)

    @property
    def number(self) -> int:
        """Return how many parameters it knows."""
        return len(self._known)

    @property
    def groups(self) -> list[dict[str, Any]]:
        """Return the torch optimizer's parameter groups with their options."""
        return [] if self.optimizer is None else self.optimizer.param_groups

    def stepped_parameters(self) -> list[tuple[Tensor, dict[str, Any], dict[str, Tensor]]]:
        """Return each parameter that has been stepped, its group, and its state by name.

        The counters of steps are left out.
        """
        if self.optimizer is None:
            return []
        state = self.optimizer.state
        return [
            (
                parameter,
                group,
                {
                    name: value
                    for name, value in state.get(parameter, {}).items()
                    if name != "step" and isinstance(value, Tensor)
                },
            )
            for group in self.groups
            for parameter in group["params"]
            if parameter in state or not self._stateful
        ]

    @property
    def _stateful(self) -> bool:
        return self.optimizer is not None and bool(self.optimizer.state)

    def counters(self) -> list[Tensor]:
        """Return the torch optimizer's counters of steps, one a parameter."""
        states = [] if self.optimizer is None else self.optimizer.state.values()
        return [state["step"] for state in states if isinstance(state.get("step"), Tensor)]

    def count_step(self) -> None:
        """Count a step that changed the torch optimizer's tensors without calling it."""
        self.steps += 1

    def sync_counters(self) -> None:
        """Set the torch optimizer's counters to the number of steps taken."""
        counters = self.counters()
        if counters and self.steps > self._counted:
            add_to_each(counters, self.steps - self._counted)
        self._counted = self.steps

    def reset_counters(self, steps: int) -> None:
        """Count from `steps` on, where the torch optimizer's own counters stand."""
        self.steps = self._counted = steps

    def _norm(self, gradients: list[Tensor]) -> float:
        found = list(norm_of_each(gradients))
        if len({norm.dtype for norm in found}) > 1:
            found = [norm.double() for norm in found]
        norms = torch.stack(found).double()
        # fsum rounds once: the sum is the same in whatever order Pyro hands the parameters over.
        return math.sqrt(math.fsum(norms.square().tolist()))

    def _join(self, parameters: Mapping[Tensor, str | None]) -> None:
        if not parameters:
            return
        self._known.update(parameters)
        if self.optimizer is None:
            self.optimizer = _build(self.pt_optim_constructor, list(parameters))
        else:
            self.optimizer.add_param_group({"params": list(parameters)})
        self._given += [_options(group) for group in self.groups[len(self._given) :]]

    def get_state(self) -> dict[str, Any]:
        """Return a copy of the optimizer's state by parameter name, and its groups' options.

        Raises:
            ValueError: if a parameter was not given, with its name, at construction.
        """
        optimizer, names = self._named()
        self.sync_counters()
        return {
            "taken": self.steps,
            "state": {
                names[tensor]: copy.deepcopy(state) for tensor, state in optimizer.state.items()
            },
            "groups": [_options(group) for group in optimizer.param_groups],
            "given": copy.deepcopy(self._given),
        }

    def set_state(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state that `get_state` returned, matched by parameter name.

        The moments and counters are those of the state. An option such as the learning rate is
        that of the state too, unless this optimizer was constructed with another value than the
        one of the state: then it is this optimizer's.

        Raises:
            ValueError: if a parameter was not given, with its name, at construction, or the state
                is that of other parameters.
        """
        optimizer, names = self._named()
        states, groups = state_dict["state"], state_dict["groups"]
        shapes = {name: tensor.shape for tensor, name in names.items()}
        for name, state in states.items():
            for key, value in state.items():
                # torch does not check: a fused step would write past the end of a smaller tensor.
                fits = isinstance(value, Tensor) and value.shape in ((), shapes.get(name))
                if name not in shapes or (isinstance(value, Tensor) and not fits):
                    raise ValueError(
                        f"the state of {name!r:.100} ({key!s:.40}) does not belong to this "
                        f"optimizer's parameters, {shapes!s:.300}"
                    )
        changes = [
            {
                option: value
                for option, value in now.items()
                if option not in given or not _equal(given[option], value)
            }
            for given, now in self._given_options(state_dict)
        ]
        # By the groups' own order: a constructor may divide the parameters among them at will.
        ordered = [tensor for group in optimizer.param_groups for tensor in group["params"]]
        positions = {names[tensor]: position for position, tensor in enumerate(ordered)}
        members = iter(range(len(ordered)))
        optimizer.load_state_dict(
            {
                "state": {positions[name]: copy.deepcopy(state) for name, state in states.items()},
                "param_groups": [
                    {**options, **changed, "params": [next(members) for _ in group["params"]]}
                    for options, changed, group in zip(
                        groups, changes, optimizer.param_groups, strict=True
                    )
                ],
            }
        )
        counted = max((int(counter) for counter in self.counters()), default=0)
        self.reset_counters(state_dict.get("taken", counted))  # not every optimizer counts

    def changed_options(self, state_dict: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
        """Return the options that were given otherwise than those of a state: name, its, ours."""
        return [
            (option, given.get(option), value)
            for given, now in self._given_options(state_dict)
            for option, value in now.items()
            if option not in given or not _equal(given[option], value)
        ]

    def _given_options(self, state_dict: Mapping[str, Any]) -> Iterator[tuple[Options, Options]]:
        """Yield the options that a group of a state was constructed with, and those of ours."""
        if len(state_dict["groups"]) != len(self.groups):
            raise ValueError(
                f"the state has {len(state_dict['groups'])} parameter groups, this optimizer "
                f"{len(self.groups)}"
            )
        # A state of an earlier version has the present options alone, which are the given ones
        # where no schedule changed them.
        before = state_dict.get("given") or [
            self._given[place] if "initial_lr" in group else group
            for place, group in enumerate(state_dict["groups"])
        ]
        return zip(before, self._given, strict=True)

    def _named(self) -> tuple[torch.optim.Optimizer, dict[Tensor, str]]:
        names = {tensor: name for tensor, name in self._known.items() if name is not None}
        if self.optimizer is None or len(names) < len(self._known):
            # Pyro hands parameters over without names, in an order that changes from run to run.
            raise ValueError(
                "the state of JointOptim goes by parameter name; construct it with "
                "parameters=dict(pair.named_parameters())"
            )
        return self.optimizer, names


def _options(group: Mapping[str, Any]) -> Options:
    return {option: value for option, value in group.items() if option != "params"}


def _equal(first: Any, second: Any) -> bool:
    """Tell whether two options are equal: numbers, tensors of one number, or tuples of them."""
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(_equal, first, second))
    return bool(first == second)


def _build(constructor: Constructor, parameters: list[Tensor]) -> torch.optim.Optimizer:
    import_compiler()
    chosen = getattr(constructor, "keywords", {}).get("fused") is not None
    if not chosen and all(parameter.is_floating_point() for parameter in parameters):
        try:
            return constructor(parameters, fused=True)
        except (TypeError, RuntimeError):
            pass  # this optimizer, or this device, has no fused form
    optimizer = constructor(parameters)
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ValueError(
            "LBFGS evaluates the loss several times a step, which SVI does not; choose another "
            "optimizer, such as Adam"
        )
    return optimizer
