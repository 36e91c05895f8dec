"""Decompositions of operations in generated code, where torch's own are slow on a CPU."""

from collections.abc import Callable
from typing import Any

import torch
from numpy import log1p
from numpy.polynomial import Chebyshev, Polynomial
from torch import Tensor

from ppvae.engine.compilation.torch_generator import decomposition_table

_DEGREE = 9  # of the polynomial below, enough for single precision
_MEAN, _SUM = 1, 2  # torch's codes of reductions


def decompositions() -> dict[Any, Callable[..., Any]]:
    """Return what torch's code generator is to take operations apart into."""
    table = decomposition_table()
    aten = torch.ops.aten
    product = table[aten.addmm.default]
    cross_entropy = table[aten.binary_cross_entropy_with_logits.default]
    # log(1 + t) = t P(t) on [0, 1]
    ratio = Chebyshev.interpolate(lambda t: log1p(t) / t, _DEGREE, domain=[0, 1])
    coefficients = [float(value) for value in ratio.convert(kind=Polynomial).coef]

    def addmm(bias: Tensor, left: Tensor, right: Tensor, **options: Any) -> Any:
        """Fuse the addition of the bias into the operation that reads the result.

        Written as a subtraction, which rounds alike, because the generator would turn `mm + bias`
        back into `addmm`.
        """
        if left.device.type != "cpu" or any(value != 1 for value in options.values()):
            return product(bias, left, right, **options)
        return torch.mm(left, right) - (-bias)

    def binary_cross_entropy_with_logits(
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        pos_weight: Tensor | None = None,
        reduction: int = _MEAN,
    ) -> Any:
        """Compute the logarithm by a polynomial: for images it takes most of the time.

        (1 - x) l - min(l, 0) + log(1 + exp(-|l|)), equal to torch's up to rounding.
        """
        single = logits.dtype == target.dtype == torch.float32
        plain = single and weight is None and pos_weight is None
        if not plain or logits.device.type != "cpu":
            return cross_entropy(logits, target, weight, pos_weight, reduction)
        t = torch.exp(-logits.abs())
        polynomial = torch.full_like(t, coefficients[-1])
        for coefficient in reversed(coefficients[:-1]):
            polynomial = polynomial * t + coefficient
        entropy = (1 - target) * logits - logits.clamp(max=0) + t * polynomial
        if reduction == _MEAN:
            return entropy.mean()
        return entropy.sum() if reduction == _SUM else entropy

    return {
        **table,
        aten.addmm.default: addmm,
        aten.binary_cross_entropy_with_logits.default: binary_cross_entropy_with_logits,
    }
