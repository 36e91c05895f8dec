"""Images at random poses: where points go, and that a decoder's pose means the same."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import constraints

from ppvae import data, networks


def test_a_decoder_told_the_factors_draws_the_same_image():
    torch.manual_seed(0)
    # Smooth and 0 at the edge, so that what is outside of an image plays no part.
    side = torch.linspace(-1, 1, 21)
    down, right = torch.meshgrid(side, side, indexing="ij")
    image = torch.exp(-20 * ((down - 0.2).square() + 2 * (right + 0.1).square()))
    original = data.split(
        "hill", image.flatten().expand(20, -1), constraints.unit_interval, image_shape=(21, 21)
    )
    posed = data.posed(original, rotation=0.8, shift=0.2, scale=0.2, copies=3)
    assert posed.train.shape == (48, 441)
    drawing = nn.Linear(1, 441)
    nn.init.zeros_(drawing.weight)
    drawing.bias.data = image.flatten()
    canvas = networks.Canvas(drawing, (21, 21))
    decoder = networks.SpatialDecoder(canvas, (21, 21), 1, rotation=1.0, shift=1.0, scale=1.0)
    drawn = decoder(torch.cat([posed.factors["train"], torch.zeros(48, 1)], 1))
    torch.testing.assert_close(drawn.detach(), posed.train, rtol=0, atol=1e-3)
    assert float(posed.train.std(0).max()) > 0.1


def test_poses_are_uniform_and_whole_numbers_stay_whole():
    digits = data.digits()
    posed = data.posed(digits, rotation=math.pi / 6, shift=0.1, copies=2)
    angle, down, right, log_size = posed.factors["train"].T
    assert float(angle.abs().max()) < math.pi / 6 < 1.01 * float(angle.abs().max())
    assert float(down.abs().max()) < 0.1 < 1.01 * float(down.abs().max())
    assert not torch.equal(down, right) and not log_size.any()
    assert digits.support.check(posed.train).all()
    assert torch.equal(posed.labels["test"][::2], digits.labels["test"])
    still = data.posed(digits, rotation=0.0)
    assert torch.equal(still.test, digits.test)


def test_what_has_no_pose_is_refused():
    with pytest.raises(ValueError, match="posed needs images in memory"):
        data.posed(data.wine())
    with pytest.raises(ValueError, match="rotation, shift and scale of at least 0"):
        data.posed(data.digits(), rotation=-1.0)
    with pytest.raises(ValueError, match="without conditions"):
        data.posed(data.halves(data.digits()))
    positive = data.split("p", torch.ones(20, 4), constraints.positive, image_shape=(2, 2))
    with pytest.raises(ValueError, match="fills images up with 0"):
        data.posed(positive)
