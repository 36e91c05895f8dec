"""A GRU over time on processors, with the gradients of its weights from all steps at once.

PyTorch's own adds an outer product of the weights' size to their gradient at every step, and falls
apart into many operations a step where training is compiled. Here both directions are one
operation each.
"""

from typing import Any

import torch
from torch import Tensor, library, nn


def read(recurrent: nn.GRU, x: Tensor) -> Tensor:
    """Return what a GRU of one layer returns for sequences: `(data, time, width)`.

    Args:
        recurrent: the layer, batch first.
        x: sequences, `(data, time, features)`.

    Example:
        >>> layer, x = nn.GRU(3, 4, batch_first=True), torch.randn(2, 5, 3)
        >>> torch.testing.assert_close(read(layer, x), layer(x)[0])
    """
    states: Tensor
    if x.device.type != "cpu":
        states = recurrent(x)[0]
        return states
    of_x, of_h, bias_of_x, bias_of_h = recurrent.all_weights[0]
    inputs = nn.functional.linear(x, of_x, bias_of_x).transpose(0, 1)
    states = _forward(inputs, of_h, bias_of_h)[0]
    return states.transpose(0, 1)


@library.custom_op("ppvae::gru", mutates_args=())
def _forward(inputs: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return the states, and what the gradient needs: gates r and z, n, and the part of n of h."""
    steps, rows, width = *inputs.shape[:2], weight.shape[1]
    states, kept = inputs.new_empty(steps, rows, width), inputs.new_empty(steps, rows, 4 * width)
    h, across = inputs.new_zeros(rows, width), weight.t().contiguous()
    for step, own in enumerate(inputs.unbind(0)):
        gates, new, hidden = kept[step].split([2 * width, width, width], -1)
        of_h = torch.addmm(bias, h, across)
        hidden.copy_(of_h[:, 2 * width :])
        gates.copy_(torch.add(own[:, : 2 * width], of_h[:, : 2 * width]).sigmoid_())
        r, z = gates.chunk(2, -1)
        new.copy_(torch.addcmul(own[:, 2 * width :], r, hidden).tanh_())
        h = torch.lerp(new, h, z, out=states[step])
    return states, kept


@library.custom_op("ppvae::gru_backward", mutates_args=())
def _backward(
    gradient: Tensor, states: Tensor, kept: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of inputs, weight and bias."""
    width = states.shape[-1]
    before = torch.cat([torch.zeros_like(states[:1]), states[:-1]])
    r, z, new, hidden = kept.chunk(4, -1)
    of_new = (1 - z) * (1 - new * new)
    of_z = (before - new) * z * (1 - z)
    # By what the gradient of a state is multiplied, of all steps at once.
    factors = torch.stack([of_new * hidden * r * (1 - r), of_z, of_new * r], -2)
    kept_share = z.contiguous()
    totals, passed = torch.empty_like(states), torch.zeros_like(states[0])
    for step in range(len(states) - 1, -1, -1):
        total = torch.add(gradient[step], passed, out=totals[step])
        of_gates = (factors[step] * total.unsqueeze(-2)).flatten(1)
        passed = torch.addmm(total * kept_share[step], of_gates, weight)
    every = (factors * totals.unsqueeze(-2)).reshape(-1, 3 * width)
    of_weight = every.t() @ before.reshape(-1, width)
    of_inputs = every.reshape(*states.shape[:2], 3 * width).clone()
    of_inputs[..., 2 * width :] = of_new * totals
    return of_inputs, of_weight, every.sum(0)


@_forward.register_fake
def _(inputs: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    steps, rows, width = *inputs.shape[:2], weight.shape[1]
    return inputs.new_empty(steps, rows, width), inputs.new_empty(steps, rows, 4 * width)


@_backward.register_fake
def _(
    gradient: Tensor, states: Tensor, kept: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    gates = states.new_empty(*states.shape[:2], 3 * states.shape[-1])
    return gates, torch.empty_like(weight), weight.new_empty(len(weight))


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(*output, inputs[1])


def _gradients(ctx: Any, gradient: Tensor, _: Any) -> Any:
    return _backward(gradient, *ctx.saved_tensors)


_forward.register_autograd(_gradients, setup_context=_keep)
