"""A decoder that turns, moves and resizes what it draws."""

import math

import pytest
import torch
from torch import nn

from ppvae.networks import Canvas, Joined, SpatialDecoder

SIDE = 41


class Blob(nn.Module):
    """A bright point at a place of the content's own coordinates, down and right."""

    def forward(self, places, content):
        return -200 * (places - torch.tensor([0.5, 0.2])).square().sum(-1, keepdim=True)


def place(angle=0.0, down=0.0, right=0.0, log_size=0.0):
    """Return where the brightest pixel is, in the units of the image."""
    decoder = SpatialDecoder(Blob(), (SIDE, SIDE), 1, rotation=1.0, shift=1.0, scale=1.0)
    image = decoder(torch.tensor([angle, down, right, log_size, 0.0])).reshape(SIDE, SIDE)
    row, column = divmod(int(image.argmax()), SIDE)
    return 2 * row / (SIDE - 1) - 1, 2 * column / (SIDE - 1) - 1


@pytest.mark.parametrize(
    ("pose", "expected"),
    [
        ({}, (0.5, 0.2)),
        ({"down": 0.2, "right": -0.3}, (0.7, -0.1)),
        ({"log_size": math.log(1.5)}, (0.75, 0.3)),
        ({"angle": math.pi / 2}, (-0.2, 0.5)),
        ({"angle": math.pi / 2, "down": 0.1}, (-0.1, 0.5)),
    ],
)
def test_the_content_is_resized_turned_and_then_moved(pose, expected):
    assert place(**pose) == pytest.approx(expected, abs=1.01 / (SIDE - 1))


def test_units_of_zero_take_no_latents():
    decoder = SpatialDecoder(Joined(nn.Linear(5, 1)), (4, 4), 3, rotation=0.0, shift=0.0)
    assert decoder.pose == 0 and decoder.latent == 3
    angle, shift, log_size = decoder.poses(torch.randn(7, 3))
    assert not angle.any() and not shift.any() and not log_size.any()


def test_a_canvas_is_its_drawing_at_the_pixels_and_linear_between_them():
    drawing = torch.randn(2, 3, 4)  # two outputs
    canvas = Canvas(nn.Linear(1, 24), (3, 4))
    with torch.no_grad():
        canvas.network.bias.copy_(drawing.flatten())
    down, right = torch.linspace(-1, 1, 3), torch.linspace(-1, 1, 4)
    at = canvas(torch.cartesian_prod(down, right), torch.zeros(1, 1))
    torch.testing.assert_close(at, drawing.flatten(1).T)
    between = torch.tensor([[down[:2].mean(), right[:2].mean()], [5.0, -5.0]])
    read = canvas(between, torch.zeros(1, 1))
    torch.testing.assert_close(read[0], drawing[:, :2, :2].mean((1, 2)))
    torch.testing.assert_close(read[1], drawing[:, 2, 0])
