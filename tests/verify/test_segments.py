"""One hidden factor, ten latents: how many does a trained pair use, and do classes stay apart?

Segments of every length are a curve through the space of images. Where the curve is long beside
the pixel noise and turns often, training can lay it along two or three latents and stay there, in
a solution whose ELBO is 0.3 nats lower than that of one latent. 8 x 8 pixels fit as they are. Of
16 x 16 pixels, 300 epochs straighten the curve in 3 of 5 starts; a weight of the KL that falls
from 10 to 1 does so in 100 epochs from every start. Weight w is to one active latent as noise
sqrt(w) times larger: the image is learned from coarse to fine.
"""

import functools
import statistics

import pytest
import torch
from sklearn.metrics import silhouette_score

import ppvae
from ppvae import data, diagnostics, likelihoods, networks, pairs

SCALE = 0.1  # a human's pixel noise, on pixels between 0 and 1

pytestmark = pytest.mark.verify


def falling(step):
    return max(1.0, 10 * (1 - step / 1600))  # 1 for more than the second half of 3200 steps


def fitted(segments, epochs, seed, kl_weight=1.0):
    torch.manual_seed(seed)
    likelihood = functools.partial(likelihoods.Normal, scale=SCALE)
    pair = pairs.assemble(segments, latent=10, likelihood=likelihood, network=networks.MLP)
    ppvae.fit(pair, segments, epochs=epochs, kl_weight=kl_weight, seed=seed)
    return pair


@pytest.mark.parametrize(
    ("size", "noise", "kl_weight"),
    [(8, 0.0, 1.0), (16, 0.0, falling), (8, SCALE, 1.0)],
    ids=["8 x 8, exact", "16 x 16, exact", "8 x 8, noise added"],
)
def test_one_factor_is_one_active_unit(size, noise, kl_weight):
    segments = data.segments(size=size, noise=noise)
    counts, others = [], []
    for seed in range(5):
        pair = fitted(segments, 100, seed, kl_weight)
        counts.append(diagnostics.active_units(pair, segments, threshold=0.01).count)
        kl = sorted(diagnostics.kl_per_dimension(pair, segments).values, reverse=True)
        others.append(kl[1])
        terms = diagnostics.summarize(diagnostics.evidence(pair, segments, draws=100))
        print(
            f"\nseed {seed}: {counts[-1]} active, KL {kl[0]:.3f} and then {kl[1]:.4f} nats, ELBO "
            f"{float(terms['mean'].sel(term='elbo')):.2f}",
            end="",
            flush=True,
        )
    print()
    assert statistics.median(counts) == 1
    assert max(others) < 0.05


@pytest.mark.parametrize("size", [8, 16])
def test_three_lengths_are_three_clusters(size):
    """Exactly drawn there are three images and nothing to tell apart, so noise is added."""
    segments = data.segments(lengths=(1, 3, 5), size=size, noise=SCALE)
    labels = segments.labels["test"]
    pixels = silhouette_score(segments.test, labels)
    for seed in range(5):
        pair = fitted(segments, 50, seed)
        with torch.no_grad():
            reached = silhouette_score(pair.encode(segments.test).mean, labels)
        count = diagnostics.active_units(pair, segments).count
        print(
            f"\nseed {seed}: silhouette {reached:.3f} of the posterior means, {pixels:.3f} of the "
            f"pixels, {count} active",
            end="",
            flush=True,
        )
        assert reached > 0.7 > pixels
    print()
