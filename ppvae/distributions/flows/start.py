"""Initial weights of transforms."""

import torch
from torch import nn


@torch.no_grad()
def start_close_to_identity(network: nn.Module) -> None:
    """Shrink the last layer of a network of shifts and log scales to a tenth.

    Otherwise a sequence of several transforms starts with very heavy tails, and training has to
    remove them first.

    Args:
        network: a network of Pyro's, with its layers in `layers`.
    """
    last = network.layers[-1]  # type: ignore[index]
    for parameter in last.parameters():  # type: ignore[union-attr]
        parameter.mul_(0.1)
