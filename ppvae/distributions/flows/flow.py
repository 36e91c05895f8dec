"""The distribution of transformed noise."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Transform, constraints


class Flow(dist.TorchDistribution):  # type: ignore[misc]
    """The distribution of z = f_n(... f_1(e)), e from a base distribution of vectors.

        log q(z) = log base(e) - sum_i log |det df_i|

    (Rezende and Mohamed, "Variational inference with normalizing flows", 2015). The log density
    of the last draw is computed while drawing and kept, so it needs no inverse; other values are
    mapped back by the inverses. Like any distribution, a flow uses the parameters' values of when
    it was made: after an update, make a new one.

    Args:
        base_dist: a distribution over `(features,)`.
        transforms: invertible, in order of application, and not shared with other
            distributions, because they cache their last input.
        remake: given another base and context, makes the flow with the same learned transforms;
            None if that is not known.
        context: what the transforms depend on, `(*batch, context)`.

    Example:
        >>> base = dist.Normal(torch.zeros(2), torch.ones(2)).to_event(1)
        >>> stretch = torch.distributions.AffineTransform(0.0, 10.0)
        >>> flow = Flow(base, [stretch])
        >>> round((base.log_prob(torch.zeros(2)) - flow.log_prob(torch.zeros(2))).item(), 4)
        4.6052
    """

    has_rsample = True
    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(
        self,
        base_dist: dist.Distribution,
        transforms: Sequence[Transform],
        validate_args: bool | None = None,
        *,
        remake: Callable[[dist.Distribution, Tensor], Any] | None = None,
        context: Tensor | None = None,
    ) -> None:
        self.base_dist, self.transforms = base_dist, tuple(transforms)
        self.remake, self.context = remake, context
        self._drawn: tuple[Tensor, Tensor, bool] | None = None
        super().__init__(base_dist.batch_shape, base_dist.event_shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> constraints.Constraint:
        """The codomain of the last transform."""
        codomain = self.transforms[-1].codomain
        missing = 1 - codomain.event_dim
        return constraints.independent(codomain, missing) if missing else codomain

    def expand(self, batch_shape: torch.Size, _instance: None = None) -> "Flow":
        """Return the flow expanded to a batch shape."""
        return Flow(
            self.base_dist.expand(batch_shape),
            self.transforms,
            self._validate_args,
            remake=self.remake,
            context=self.context,
        )

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw, with gradients: `(*sample_shape, *batch, features)`."""
        z: Tensor = self.base_dist.rsample(sample_shape)
        log_prob = self.base_dist.log_prob(z)
        for transform in self.transforms:
            before, z = z, transform(z)
            log_prob = log_prob - _log_determinant(transform, before, z)
        self._drawn = z, log_prob, torch.is_grad_enabled()
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log q in nats, `(*sample, *batch)`.

        Raises:
            NotImplementedError: if `value` is not the last draw and a transform has no inverse.
        """
        if self._validate_args:
            self._validate_sample(value)
        if self._drawn is not None and value is self._drawn[0]:
            _, log_prob, with_gradients = self._drawn
            # A density computed without gradients cannot be differentiated later.
            if with_gradients or not torch.is_grad_enabled():
                return log_prob
        z = value.expand(torch.broadcast_shapes(value.shape, self.batch_shape + self.event_shape))
        e, log_determinant = _mapped_back(self.transforms, z)
        log_base: Tensor = self.base_dist.log_prob(e)
        return log_base - log_determinant


def _log_determinant(transform: Transform, before: Tensor, after: Tensor) -> Tensor:
    value: Tensor = transform.log_abs_det_jacobian(before, after)
    return value if transform.domain.event_dim else value.sum(-1)


def _mapped_back(transforms: Sequence[Transform], z: Tensor) -> tuple[Tensor, Tensor]:
    log_determinant = z.new_zeros(z.shape[:-1])
    for transform in reversed(transforms):
        after, z = z, _inverse(transform, z)
        log_determinant = log_determinant + _log_determinant(transform, z, after)
    return z, log_determinant


def _inverse(transform: Transform, value: Tensor) -> Tensor:
    try:
        inverted: Tensor = transform.inv(value)
    except (KeyError, NotImplementedError) as error:
        raise NotImplementedError(
            f"{type(transform).__name__} has no inverse, so log_prob accepts only the flow's own "
            "last draw, got another value; choose a transform that has an inverse"
        ) from error
    return inverted
