"""A chain of normals, each given the one before."""

from collections.abc import Callable
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor

from ppvae.distributions.ranges import positive

_ONE = torch.Size()
_SERIES = constraints.independent(constraints.real, 2)


class MarkovChain(dist.TorchDistribution):  # type: ignore[misc]
    """The chain p(z_1, ..., z_T) = prod_t N(z_t; loc(z_{t-1}, h_t), diag(scale(z_{t-1}, h_t))^2).

    A chain is drawn step after step; its density is computed of all steps at once. Steps that are
    not seen are independent, N(0, I): two chains that see the same steps have a ratio that
    depends on these alone.

    Args:
        transition: called with z `(*, latent)`, and with h `(*, features)` if there is any;
            returns loc and raw scale side by side, `(*, 2 * latent)`, scale = log(1 + exp(raw)).
        start: z_0, `(*, latent)`.
        steps: T.
        inputs: h, `(*, T, features)`.
        seen: which steps there are, `(*, T)`; all unless given.

    Example:
        >>> walk = MarkovChain(lambda z: torch.cat([z, z * 0 - 1], -1), torch.zeros(3, 2), steps=5)
        >>> z = walk.sample((4,))
        >>> z.shape, walk.log_prob(z).shape
        (torch.Size([4, 3, 5, 2]), torch.Size([4, 3]))
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = True
    support = _SERIES

    def __init__(
        self,
        transition: Callable[..., Tensor],
        start: Tensor,
        steps: int,
        inputs: Tensor | None = None,
        seen: Tensor | None = None,
        batch_shape: torch.Size | None = None,
    ) -> None:
        self.transition, self.start, self.steps = transition, start, steps
        self.inputs, self.seen = inputs, seen
        # The last draw with its loc and scale, which its density needs: as in a guide.
        self._drawn: tuple[Tensor, Tensor, Tensor] | None = None
        shapes = [start.shape[:-1]]
        shapes += [inputs.shape[:-2]] if inputs is not None else []
        shapes += [seen.shape[:-1]] if seen is not None else []
        shape = torch.broadcast_shapes(*shapes) if batch_shape is None else batch_shape
        super().__init__(torch.Size(shape), torch.Size((steps, start.shape[-1])))

    def expand(self, batch_shape: Any, _instance: Any = None) -> "MarkovChain":
        """Return the distribution expanded to a batch shape."""
        return MarkovChain(
            self.transition,
            self.start,
            self.steps,
            self.inputs,
            self.seen,
            torch.Size(batch_shape),
        )

    def rsample(self, sample_shape: Any = _ONE) -> Tensor:
        """Draw chains, differentiable in all that the transition depends on."""
        shape = torch.Size(sample_shape) + self.batch_shape
        noise = torch.randn(*shape, *self.event_shape, dtype=self.start.dtype).to(self.start)
        z, drawn = self.start.expand(*shape, -1), list[tuple[Tensor, Tensor, Tensor]]()
        for step, own in enumerate(noise.unbind(-2)):
            h = None if self.inputs is None else self.inputs[..., step, :]
            seen = None if self.seen is None else self.seen[..., step]
            loc, scale = self._normal(z, h, seen)
            z = loc + scale * own
            drawn.append((z, loc, scale))
        value, loc, scale = (torch.stack(parts, -2) for parts in zip(*drawn, strict=True))
        self._drawn = value, loc, scale
        return value

    def sample(self, sample_shape: Any = _ONE) -> Tensor:
        """Draw chains."""
        with torch.no_grad():
            return self.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density in nats."""
        if self._validate_args:
            self._validate_sample(value)
        loc, scale = self._of_draw(value) or self._of_value(value)
        log_prob: Tensor = dist.Normal(loc, scale, validate_args=False).log_prob(value)
        return log_prob.sum((-1, -2))

    def _of_draw(self, value: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return loc and scale of all steps if they are known, with a gradient if one is asked."""
        drawn, loc, scale = self._drawn or (None, value, value)
        known = drawn is value and (loc.requires_grad or not torch.is_grad_enabled())
        return (loc, scale) if known else None

    def _of_value(self, value: Tensor) -> tuple[Tensor, Tensor]:
        start = self.start.unsqueeze(-2).expand(*value.shape[:-2], 1, -1)
        before = torch.cat([start, value[..., :-1, :]], -2)
        return self._normal(before, self.inputs, self.seen)

    def _normal(
        self, before: Tensor, inputs: Tensor | None, seen: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        output = self.transition(before) if inputs is None else self.transition(before, inputs)
        loc, raw = output.chunk(2, -1)
        scale = positive(raw)
        if seen is None:
            return loc, scale
        there = seen.unsqueeze(-1) > 0
        return torch.where(there, loc, 0.0), torch.where(there, scale, 1.0)
