"""A transform of each feature that depends on the features before it."""

from collections.abc import Sequence
from functools import partial

import torch
from pyro.distributions.transforms import AffineAutoregressive, ConditionalAffineAutoregressive
from pyro.nn import ConditionalAutoRegressiveNN
from torch import Tensor

from ppvae.distributions.flows.start import start_close_to_identity


class InverseAutoregressive(ConditionalAffineAutoregressive):  # type: ignore[misc]
    """The inverse autoregressive y_i = loc_i(x_{<i}, c) + exp(s_i(x_{<i}, c)) x_i.

    x_{<i} are the features before x_i, c is the context, `loc` and `s` come from a masked
    network; log |det| = sum s (Kingma et al., "Improved variational inference with inverse
    autoregressive flow", 2016). Drawing takes one pass of the network, the inverse one pass per
    feature: suited to posteriors, which score their own draws. It starts close to the identity.
    Put a `Reversal` between two of them.

    Args:
        features: number of features, at least 2.
        context: number of features of the context; 0 for none.
        hidden: sizes of the network's hidden layers, each at least `features`; by default one
            layer of size 3 features + 1.

    Raises:
        ValueError: if there is a single feature, `context` is negative or a size too small.

    Example:
        >>> transform = InverseAutoregressive(4).condition(torch.zeros(0))
        >>> x = torch.randn(4)
        >>> bool(torch.allclose(transform.inv(transform(x).clone()), x, atol=1e-5))
        True
    """

    def __init__(
        self, features: int, context: int = 0, hidden: Sequence[int] | None = None
    ) -> None:
        sizes = [3 * features + 1] if hidden is None else list(hidden)
        if features < 2 or context < 0 or not sizes or min(sizes) < features:
            raise ValueError(
                "InverseAutoregressive needs features >= 2, context >= 0 and hidden sizes of at "
                f"least features, got {features}, {context} and {sizes}; "
                "pyro.distributions.transforms.spline bends a single feature"
            )
        order = torch.arange(features)
        super().__init__(ConditionalAutoRegressiveNN(features, context, sizes, permutation=order))
        start_close_to_identity(self.nn)
        self.features, self.context = features, context
        self.hidden = None if hidden is None else tuple(hidden)

    def condition(self, context: Tensor) -> AffineAutoregressive:
        """Return the transform at a context `(*, context)`."""
        return _Autoregressive(partial(self.nn, context=context))


class _Autoregressive(AffineAutoregressive):  # type: ignore[misc]
    def _inverse(self, y: Tensor) -> Tensor:
        # Pyro's version starts from zeros of torch's default dtype instead of that of y.
        columns = list(torch.zeros_like(y).unbind(-1))
        for index in range(len(columns)):
            loc, log_scale = self.arn(torch.stack(columns, -1))
            scale = log_scale[..., index].clamp(self.log_scale_min_clip, self.log_scale_max_clip)
            columns[index] = (y[..., index] - loc[..., index]) * torch.exp(-scale)
        x = torch.stack(columns, -1)
        self._cached_log_scale = None
        return x
