"""A learned prior of any shape."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor

from ppvae.distributions.flows import AffineCoupling, Chain, Constructor, Reversal
from ppvae.priors.prior import Prior


class FlowPrior(Prior):
    """A standard normal under learned transforms: z = f_n(... f_1(e)), e ~ N(0, I).

        log p(z) = log N(e; 0, I) - sum_i log |det df_i|

    with e found by the inverses (Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real
    NVP", 2017). Pyro's splines are more flexible, but train uncompiled. Use `functools.partial` to
    give a transform further arguments. A pair is rebuilt by `load` if its transforms are classes
    of `ppvae.distributions.flows`; with others pass `load(folder, pair=mine)`.

    Args:
        features: number of latent dimensions.
        transforms: each called with `features`, to make a transform that has an inverse, such as
            `pyro.distributions.transforms.spline`; with none the prior is the standard normal.

    Raises:
        ValueError: if `features` is not positive, or a transform has no inverse.
        TypeError: if a constructor does not return a transform, or hides its parameters.

    Example:
        >>> from pyro.distributions.transforms import spline
        >>> FlowPrior(2, [spline, spline])().log_prob(torch.zeros(5, 2)).shape
        torch.Size([5])
    """

    zero: Tensor

    def __init__(
        self,
        features: int,
        transforms: Sequence[Constructor] = (
            *(AffineCoupling, Reversal, AffineCoupling, Reversal),
            *(AffineCoupling, Reversal, AffineCoupling),
        ),
    ) -> None:
        super().__init__()
        if features < 1:
            raise ValueError(f"FlowPrior needs features >= 1, got {features}")
        self.features, self.transforms = features, tuple(transforms)
        self.chain = Chain(self.transforms, features)
        self.register_buffer("zero", torch.zeros(features), persistent=False)
        try:
            with torch.no_grad():
                self().log_prob(self.zero)
        except NotImplementedError as error:
            raise ValueError(f"FlowPrior scores draws of the posterior, but {error}") from error

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(z) over `(features,)`."""
        base = dist.Normal(self.zero, torch.ones_like(self.zero)).to_event(1)
        return self.chain(base, self.zero[:0])
