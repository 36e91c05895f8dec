"""Real data with outliers."""

import pyro.distributions as dist
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae import distributions
from ppvae.likelihoods.likelihood import Likelihood
from ppvae.likelihoods.normal import LearnedScale
from ppvae.likelihoods.units import Units


class StudentT(Likelihood):
    """Independent real features with heavy tails: p(x_i | z) = StudentT(x_i; df, loc_i, scale_i).

    `loc` and `scale` come from the network, the degrees of freedom are fixed or learned (Lange,
    Little and Taylor, "Robust statistical modeling using the t distribution", 1989).

    Shapes: the network maps `(*, latent)` to `loc` and the raw scale side by side,
    `scale = log(1 + exp(raw))`, along the first dimension of the datapoint.

    Args:
        network: module from latent to `loc` and raw scale.
        df: degrees of freedom: a number, or a `LearnedScale` for learned ones.
        event_dim: number of dimensions of one datapoint.
        units: shift and scale of each feature, of which `loc` and `scale` above are multiples.

    Raises:
        ValueError: if a fixed `df` is not positive.

    Example:
        >>> import torch
        >>> robust = StudentT(nn.Linear(2, 6), df=LearnedScale(initial=4.0))
        >>> robust(torch.zeros(2)).event_shape
        torch.Size([3])
    """

    def __init__(
        self,
        network: nn.Module,
        df: float | LearnedScale = 4.0,
        event_dim: int = 1,
        units: Units | None = None,
    ) -> None:
        super().__init__(network, event_dim)
        self.units = units
        if isinstance(df, int | float) and not df > 0:
            raise ValueError(f"StudentT needs positive degrees of freedom df, got {df}")
        self.df = df

    @property
    def outputs_per_feature(self) -> int:
        """Loc and raw scale."""
        return 2

    @property
    def support(self) -> constraints.Constraint:
        """The real numbers."""
        return constraints.real

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(x|z) over one datapoint."""
        loc, raw_scale = self.outputs(*conditions)
        df = self.df() if isinstance(self.df, nn.Module) else self.df
        scale: Tensor | float = distributions.positive(raw_scale)
        if self.units is not None:
            loc, scale = self.units(loc, scale)
        return distributions.StudentT(df, loc, scale).to_event(self.event_dim)
