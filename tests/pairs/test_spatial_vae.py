"""Images that are turned: the angle is found, and images can be turned and aligned by it."""

import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import constraints

import ppvae
from ppvae import data, likelihoods, networks, posteriors, priors
from ppvae.pairs import SpatialVAE


def bars(rows, seed):
    """A bar of one length at random angles, and these."""
    generator = torch.Generator().manual_seed(seed)
    angles = torch.rand(rows, generator=generator) * 2 - 1
    grid = torch.cartesian_prod(*[torch.linspace(-1, 1, 12)] * 2)
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    along = cos * grid[:, 0] + sin * grid[:, 1]
    across = cos * grid[:, 1] - sin * grid[:, 0]
    # One end is thicker, so that a bar is not its own half turn.
    inside = (across.abs() < 0.25 + 0.2 * (along > 0.3)) & (along.abs() < 0.85)
    return inside.float(), angles


@pytest.mark.slow
def test_the_angle_of_a_bar_is_found():
    x, _ = bars(1500, seed=0)
    images = data.split("bars", x, constraints.boolean, image_shape=(12, 12))
    torch.manual_seed(0)
    pair = SpatialVAE.of(
        images,
        latent=1,
        rotation=0.6,
        shift=0.0,
        network=functools.partial(networks.MLP, hidden=(32, 32)),
    )
    adam = functools.partial(torch.optim.Adam, lr=3e-3)
    ppvae.fit(pair, images, epochs=40, optimizer=adam, compile=False)
    test, angles = bars(300, seed=1)
    found = pair.pose(test)[0].numpy()
    assert abs(np.corrcoef(found, angles.numpy())[0, 1]) > 0.98
    aligned = pair.align(test)
    assert float(aligned.std(0).mean()) < 0.3 * float(test.std(0).mean())


def test_another_network_is_refused():
    decoder = likelihoods.Bernoulli(nn.Linear(2, 9))
    with pytest.raises(TypeError, match="whose network is a networks.SpatialDecoder, got Linear"):
        SpatialVAE(priors.StandardNormal(2), decoder, posteriors.DiagonalNormal(nn.Linear(9, 4)))
    with pytest.raises(ValueError, match="needs images"):
        SpatialVAE.of(data.split("noise", torch.randn(20, 3), constraints.real))
