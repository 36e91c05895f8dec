"""Kernels that compare draws of latents."""

import math
from collections.abc import Sequence

from torch import Tensor


class InverseMultiquadratics:
    """A sum of inverse multiquadratic kernels over several widths.

        k(x, y) = sum_s C_s / (C_s + |x - y|^2),    C_s = 2 s d variance

    with d the number of dimensions: 2 d variance is the mean of |x - y|^2 under a prior of that
    variance. Its tails are heavy, so that draws far outside the prior still have a gradient
    (Tolstikhin, Bousquet, Gelly and Schölkopf, "Wasserstein Auto-Encoders", 2018).

    Args:
        variance: of the prior, in each dimension.
        scales: the widths s.

    Raises:
        ValueError: if one of them is not positive and finite, or there is no scale.

    Example:
        >>> import torch
        >>> kernel = InverseMultiquadratics(scales=[1.0])
        >>> kernel(torch.zeros(1, 2), torch.tensor([[0.0, 0.0], [2.0, 0.0]]))
        tensor([[1.0000, 0.5000]])
    """

    def __init__(
        self,
        variance: float = 1.0,
        scales: Sequence[float] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
    ) -> None:
        if not all(0 < number < math.inf for number in (variance, *scales)) or not scales:
            raise ValueError(
                "InverseMultiquadratics needs a positive, finite variance and scales, got "
                f"{variance} and {list(scales)}"
            )
        self.variance = variance
        self.scales = tuple(scales)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Return k of all rows of `x` `(*, n, d)` and `y` `(*, m, d)`: `(*, n, m)`."""
        squares = (x.unsqueeze(-2) - y.unsqueeze(-3)).square().sum(-1)
        widths = [2 * scale * x.shape[-1] * self.variance for scale in self.scales]
        total = squares.new_zeros(())
        for width in widths:
            total = total + width / (width + squares)
        return total
