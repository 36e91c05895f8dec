"""The GRU of sequences: PyTorch's own, its values and its gradients."""

import torch
from torch import nn

from ppvae.networks import recurrence


def test_states_and_gradients_are_those_of_torch():
    torch.manual_seed(0)
    layer, x = nn.GRU(3, 5, batch_first=True).double(), torch.randn(4, 7, 3).double()
    weight, found = torch.randn(4, 7, 5).double(), []
    for reading in (layer, lambda x: (recurrence.read(layer, x),)):
        layer.zero_grad()
        given = x.clone().requires_grad_()
        states = reading(given)[0]
        (states * weight).sum().backward()
        found.append([states, given.grad, *(each.grad.clone() for each in layer.parameters())])
    torch.testing.assert_close(*found)
