"""The label of a datapoint whose class is latent."""

from typing import Any, ClassVar

import torch
from pyro.distributions import constraints
from torch import Tensor

from ppvae.distributions.expandable import Expandable

_ONE = torch.Size()

IMPOSSIBLE = -1e9
"""The log density of a label of another class: finite, since 0 times infinity is NaN."""


class Label(Expandable):
    """A label that tells the class: p(label | y) = 1 where label = y, and 0 elsewhere.

    With it a model observes a class that is latent for other datapoints, whose labels are masked.
    Its logarithm of 0 is -1e9.

    Args:
        number: that of the class as floating values, `(*)`.

    Example:
        >>> Label(torch.tensor([0.0, 1.0, 2.0])).log_prob(torch.tensor(1)).exp()
        tensor([0., 1., 0.])
    """

    has_rsample = False
    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "number": constraints.nonnegative_integer
    }
    support = constraints.nonnegative_integer

    def __init__(self, number: Tensor, validate_args: bool | None = None) -> None:
        self.number = number
        super().__init__(number.shape, validate_args=validate_args)

    def sample(self, sample_shape: Any = _ONE) -> Tensor:
        """Return the number of the class, `(*sample_shape, *batch_shape)`."""
        return self.number.expand(self._extended_shape(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return 0 or -1e9, for each value."""
        # Not checked against the support: -1 stands under a mask.
        other = (value != self.number).to(self.number.dtype)
        return IMPOSSIBLE * other
