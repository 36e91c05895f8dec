"""Networks of several tensors."""

import pytest
import torch
from torch import nn

from ppvae import networks


def test_joined_are_side_by_side_and_draws_in_front_of_one_alone():
    joined = networks.Joined(nn.Identity())
    z, y = torch.randn(7, 5, 2), torch.randn(5, 3)
    output = joined(z, y)
    assert output.shape == (7, 5, 5)
    assert torch.equal(output[..., :2], z)
    assert torch.equal(output[..., 2:], y.expand(7, 5, 3))
    assert torch.equal(joined(y, z)[..., :3], y.expand(7, 5, 3))
    assert torch.equal(joined(z[0, 0], y)[3], torch.cat([z[0, 0], y[3]]))


def test_joined_labels_may_be_whole_numbers():
    y = torch.tensor([[0, 1], [1, 0]])
    output = networks.Joined(nn.Linear(3, 2).double())(torch.randn(2, 1).double(), y)
    assert output.dtype == torch.float64


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([], r"one or more tensors of shape \(\*, features\), got shapes \[\]"),
        ([(3,), ()], r"one or more tensors .* got shapes \[\(3,\), \(\)\]"),
        ([(4, 3), (5, 3)], r"can be broadcast, got shapes \[\(4, 3\), \(5, 3\)\]"),
    ],
)
def test_what_cannot_be_joined_is_refused(shapes, message):
    with pytest.raises(ValueError, match=f"^Joined needs .*{message}"):
        networks.Joined(nn.Identity())(*map(torch.zeros, shapes))


def test_first_takes_the_first_alone():
    first = networks.First(nn.Identity())
    z = torch.randn(7, 5, 2)
    assert first(z, torch.randn(3), torch.randn(5, 1)) is z
    with pytest.raises(ValueError, match="First needs one or more tensors, got none"):
        first()
