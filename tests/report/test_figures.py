"""The figures of a fitted VAE."""

import pytest
import torch

from ppvae import data, pairs
from ppvae.report.figures import gallery

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
    assert (
        figures["latents"].axes[1].get_ylabel() == "factor"
    )  # colored by it, as there are no labels
