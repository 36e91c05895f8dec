"""Ranges of parameters in which log densities and their gradients are finite.

A network far from the data it was trained on, or at the start of a training on data that are not
of unit scale, returns raw values of any size. In single precision log(1 + exp(raw)) is exactly 0
below raw -104, and exp(raw) infinite above 88. One such value would end a whole batch.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus


def held(value: Tensor, least: float = -math.inf, most: float = math.inf) -> Tensor:
    """Return the nearest value between `least` and `most`, with the derivative of `value` itself.

    Gradients pass the bounds, so that training can come back from beyond them. They are held too,
    at max^(2/5) of the largest number of the dtype, 2.6e15 in single precision.

    Example:
        >>> raw = torch.tensor([-5.0, 0.5], requires_grad=True)
        >>> inside = held(raw, -1.0, 1.0)
        >>> inside.sum().backward()
        >>> inside.tolist(), raw.grad.tolist()
        ([-1.0, 0.5], [1.0, 1.0])
    """
    return _held(value, least, most, 0.4)


def steady(outputs: Tensor) -> Tensor:
    """Return a network's outputs, with gradients held at max^(1/5): 5e7 in single precision.

    Where a scale is far too small for the data, the gradients of their log density are so large
    that sums of their squares, which optimizers compute, are infinite.

    Example:
        >>> raw = torch.zeros(1, requires_grad=True)
        >>> (1e30 * steady(raw)).backward()
        >>> raw.grad < 1e8
        tensor([True])
    """
    return _held(outputs, -math.inf, math.inf, 0.2)


def _held(value: Tensor, least: float, most: float, power: float) -> Tensor:
    largest = torch.finfo(value.dtype).max ** power
    inside: Tensor = _Held.apply(value, least, most, largest)  # type: ignore[no-untyped-call]
    return inside


class _Held(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, least: float, most: float, largest: float) -> Tensor:
        return value.clamp(least, most)

    @staticmethod
    def setup_context(context: Any, inputs: Any, output: Any) -> None:
        context.largest = inputs[3]

    @staticmethod
    def backward(context: Any, *gradients: Any) -> Any:
        return gradients[0].clamp(-context.largest, context.largest), None, None, None

    @staticmethod
    def jvp(context: Any, *tangents: Any) -> Any:
        return tangents[0].clone()


def positive(raw: Tensor, most: float = math.inf) -> Tensor:
    """Return log(1 + exp(raw)), a scale or a concentration, held between two bounds.

    They are tiny^(1/5) and max^(2/5), of the smallest and the largest number of the dtype: 2.6e-8
    and 2.6e15 in single precision, 1e-61 and 2e123 in double. With them the squares of a scale and
    of a distance of 1e4 in units of a scale are finite, and so are their derivatives.

    Args:
        raw: any numbers.
        most: a lower upper bound.

    Example:
        >>> positive(torch.tensor([-1e4, 0.0, 1e30])).log10().round(decimals=1)
        tensor([-7.6000, -0.2000, 15.4000])
    """
    least, greatest = _bounds(raw)
    # Far below 0, log(1 + exp(raw)) is exp(raw); far above, it is raw.
    return softplus(held(raw, math.log(least), min(most, greatest)))


def exponential(log_value: Tensor) -> Tensor:
    """Return exp(log_value), held between the bounds of `positive`.

    Example:
        >>> exponential(torch.tensor([-1e4, 0.0, 1e30])).log10().round(decimals=1)
        tensor([-7.6000,  0.0000, 15.4000])
    """
    least, greatest = _bounds(log_value)
    return held(log_value, math.log(least), math.log(greatest)).exp()


def _bounds(like: Tensor) -> tuple[float, float]:
    info = torch.finfo(like.dtype)
    return info.tiny**0.2, info.max**0.4
