"""What an encoder gets of a datapoint."""

import torch
from torch import nn

from ppvae import networks
from ppvae.networks.encoder_input import LOG, LOG1P


def test_each_feature_gets_its_map_and_what_is_unknown_is_nothing():
    layer = networks.EncoderInput(nn.Identity(), levels=[0, 0, 0, 3], sized=True, masked=True)
    loc, scale = torch.tensor([1.0, 0, 2, 9]), torch.tensor([2.0, 1, 0.5, 9])
    layer.set_maps(loc, scale, torch.tensor([0, LOG1P, LOG, 0]))
    x = torch.tensor([[5.0, 3.0, 1.0, 2.0]]).expand(2, 4)
    seen = torch.tensor([[1.0, 1, 1, 1], [0.0, 1, 0, 0]])
    given, size = torch.tensor([[7.0, 8.0]]), torch.ones(2, 1)
    known, partly = layer(x, given, size, seen)
    count = torch.tensor(4.0).log()
    expected = torch.stack([torch.tensor(2.0), count, torch.tensor(-4.0)])
    torch.testing.assert_close(known[:3], expected)
    assert known[3:].tolist() == [0, 0, 1, 0, 0, 0, 0, 7, 8]
    assert partly.tolist() == [0, count.item(), 0, 0, 0, 0, 1, 0, 1, 1, 7, 8]
    assert known.shape[0] == networks.EncoderInput.width_of([0, 0, 0, 3], masked=True) + 2
