"""The backward pass of an objective whose loss is one tensor."""

from pyro.infer.util import torch_item
from torch import Tensor


def add_gradients(loss: Tensor) -> float:
    """Add the gradients of a loss to those of the parameters; return its value, in nats."""
    if loss.requires_grad:
        loss.backward()
    value: float = torch_item(loss)
    return value
