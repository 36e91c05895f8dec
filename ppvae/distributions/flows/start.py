"""Where transforms start from."""

import torch
from torch import nn


@torch.no_grad()
def start_close_to_identity(network: nn.Module) -> None:
    """Shrink the last layer of a network of shifts and log scales to a tenth.

    Several transforms in a row otherwise start with tails so heavy that training begins with them.

    Args:
        network: one of Pyro's, whose `layers` end with the last.
    """
    last = network.layers[-1]  # type: ignore[index]
    for parameter in last.parameters():  # type: ignore[union-attr]
        parameter.mul_(0.1)
