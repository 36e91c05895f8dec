"""The figures of a fitted VAE."""

import pytest
import torch

from ppvae import data, pairs
from ppvae.report.figures import gallery, image_layout

IMAGES = {"latents", "reconstructions", "samples", "worst-and-best"}


@pytest.mark.parametrize(("latent", "more"), [(1, set()), (2, {"manifold"}), (3, set())])
def test_figures_fit_data_and_latents(latent, more):
    dataset = data.segments(300, noise=0.1)
    torch.manual_seed(0)
    pair = pairs.assemble(dataset, latent=latent)
    with torch.no_grad():
        pair.posterior.network.network.last.weight.mul_(30)  # every latent is active
    names = {name for name, _ in gallery(pair, dataset, "test")}
    expected = IMAGES | {"traversals"} | more
    assert names == (expected - {"latents"} if latent == 1 else expected)


def test_data_that_are_no_images_have_a_scatter_alone():
    dataset = data.colors(100)
    figures = dict(gallery(pairs.assemble(dataset, latent=2), dataset, "test"))
    assert set(figures) == {"latents"}
    # Colored by the first factor, as there are no labels.
    assert figures["latents"].axes[1].get_ylabel() == dataset.factor_names[0]


def test_images_have_their_channels_and_the_bounds_of_their_support():
    unit = torch.distributions.constraints.unit_interval
    colored = data.split("photos", torch.rand(20, 12), unit, image_shape=(2, 2))
    assert image_layout(colored) == ((3, 2, 2), (0, 1))
    assert image_layout(data.digits()) == ((8, 8), (0, 16))
    real = torch.distributions.constraints.real
    signed = data.split("signed", torch.randn(20, 4), real, image_shape=(2, 2))
    assert image_layout(signed) == ((2, 2), None)
