"""A last layer of given weights, under draws of these and for one layer a datapoint."""

import pytest
import torch
from torch import nn

from ppvae.networks import LinearGiven

ROWS, WIDTH, OUTPUTS, DRAWS = 5, 3, 2, 4


def test_weights_are_those_of_a_linear_layer():
    layer, x = nn.Linear(WIDTH, OUTPUTS), torch.randn(ROWS, WIDTH)
    weights = torch.cat([layer.weight, layer.bias[:, None]], 1).flatten()
    torch.testing.assert_close(LinearGiven(nn.Identity())(x, weights), layer(x))


@pytest.mark.parametrize("own", [1, ROWS])
def test_draws_at_once_are_the_draws_alone(own):
    given, x = LinearGiven(nn.Identity()), torch.randn(DRAWS, ROWS, WIDTH)
    weights = torch.randn(DRAWS, own, OUTPUTS * (WIDTH + 1))
    together = given(x, weights)
    assert together.shape == (DRAWS, ROWS, OUTPUTS)
    for draw in range(DRAWS):
        for row in range(ROWS):
            alone = given(x[draw, row], weights[draw, row % own])
            torch.testing.assert_close(together[draw, row], alone)


def test_weights_that_are_no_whole_rows():
    with pytest.raises(ValueError, match=r"rows of 4 weights, for 3 features and 1, got 6"):
        LinearGiven(nn.Identity())(torch.ones(ROWS, WIDTH), torch.ones(6))
