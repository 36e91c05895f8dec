"""8-bit images."""

import math
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from ppvae.distributions import positive
from ppvae.likelihoods.likelihood import Likelihood

_ONE = torch.Size()


class _DiscretizedLogistic(dist.TorchDistribution):  # type: ignore[misc]
    """A logistic variable rounded to the nearest of the levels 0..highest.

    P(k) = s((k + 1/2 - loc) / scale) - s((k - 1/2 - loc) / scale), s the sigmoid; the lowest and
    the highest level take all that lies beyond them.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "loc": constraints.real,
        "scale": constraints.positive,
    }

    def __init__(self, loc: Tensor, scale: Tensor, highest: int) -> None:
        self.loc, self.scale, self.highest = loc, scale, highest
        super().__init__(loc.shape)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.integer_interval(0, self.highest)

    @property
    def mean(self) -> Tensor:
        mean = torch.zeros_like(self.loc)  # the sum over k of P(X > k), one at a time
        for level in range(self.highest):
            mean = mean + torch.sigmoid((self.loc - level - 0.5) / self.scale)
        return mean

    def expand(self, batch_shape: Any, _instance: Any = None) -> "_DiscretizedLogistic":
        loc, scale = self.loc.expand(batch_shape), self.scale.expand(batch_shape)
        return _DiscretizedLogistic(loc, scale, self.highest)

    def sample(self, sample_shape: Any = _ONE) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(sample_shape)
            uniform = torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device)
            logistic = self.loc + self.scale * torch.logit(uniform)
            return logistic.round().clamp(0, self.highest)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        upper = (value + 0.5 - self.loc) / self.scale
        lower = (value - 0.5 - self.loc) / self.scale
        # s(u) - s(l) = s(u) s(-l) (1 - exp(l - u)), which is accurate far from loc too.
        width = (1 / self.scale).expand_as(upper)
        between = logsigmoid(upper) + logsigmoid(-lower) + torch.log(-torch.expm1(-width))
        ends = torch.where(value < 0.5, logsigmoid(upper), logsigmoid(-lower))
        inside = (value > 0.5) & (value < self.highest - 0.5)
        return torch.where(inside, between, ends)


class DiscretizedLogisticMixture(Likelihood):
    """Independent integer levels 0..n: a rounded smooth density with several modes.

    p(x_i | z) = sum_k w_k P(x_i; loc_k, scale_k), P a logistic variable rounded to the levels,
    the lowest and highest taking all that lies beyond (Salimans et al., "PixelCNN++", 2017,
    without its dependence between channels). Exact for 8-bit images: log P(X) / (-features log 2)
    are bits per dimension.

    Shapes: the network maps `(*, latent)` to `components` logits of w, as many `loc` and as many
    raw scales side by side along the first dimension of the datapoint. If all outputs are zero,
    the `loc` are spaced evenly over the levels and the scales are a tenth of their range.

    Args:
        network: module from latent to the parameters of all components.
        components: number of logistics per feature.
        highest: the highest level n.
        event_dim: number of dimensions of one datapoint.

    Raises:
        ValueError: if `components` or `highest` is not positive.

    Example:
        >>> pixels = DiscretizedLogisticMixture(nn.Linear(2, 3 * 5 * 4))(torch.zeros(2))
        >>> pixels.event_shape, bool((pixels.sample() <= 255).all())
        (torch.Size([4]), True)
    """

    def __init__(
        self, network: nn.Module, components: int = 5, highest: int = 255, event_dim: int = 1
    ) -> None:
        super().__init__(network, event_dim)
        if components < 1 or highest < 1:
            raise ValueError(
                "DiscretizedLogisticMixture needs components >= 1 and highest >= 1, got "
                f"{components} and {highest}"
            )
        self.components = components
        self.highest = highest

    @property
    def outputs_per_feature(self) -> int:
        """Weight, loc and scale of every component."""
        return 3 * self.components

    @property
    def support(self) -> constraints.Constraint:
        """The integers from 0 to `highest`."""
        return constraints.integer_interval(0, self.highest)

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(x|z) over one datapoint."""
        outputs = torch.stack(self.outputs(*conditions), -1)
        logits, raw_loc, raw_scale = outputs.chunk(3, -1)
        places = torch.arange(self.components, dtype=outputs.dtype, device=outputs.device) + 0.5
        loc = self.highest * (places / self.components + raw_loc)
        scale = 0.1 * self.highest * positive(raw_scale) / math.log(2)
        mixture = dist.MixtureSameFamily(
            dist.Categorical(logits=logits), _DiscretizedLogistic(loc, scale, self.highest)
        )
        return mixture.to_event(self.event_dim)
