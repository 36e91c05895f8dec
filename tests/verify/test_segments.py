"""One hidden factor, ten latents: how many does a trained pair use, and do classes stay apart?

Segments of every length are a curve through the space of images. Where the curve is long beside
the pixel noise and turns often, training first lays it along two or three latents and straightens
it later: 16 x 16 pixels need more than the default 100 epochs, 8 x 8 pixels do not. The straight
solution has the higher ELBO.
"""

import functools
import statistics

import pytest
import torch
from sklearn.metrics import silhouette_score

import ppvae
from ppvae import data, diagnostics, likelihoods, pairs

SCALE = 0.1  # a human's pixel noise, on pixels between 0 and 1

pytestmark = pytest.mark.verify


def fitted(segments, epochs, seed):
    torch.manual_seed(seed)
    likelihood = functools.partial(likelihoods.Normal, scale=SCALE)
    pair = pairs.assemble(segments, latent=10, likelihood=likelihood)
    ppvae.fit(pair, segments, epochs=epochs, seed=seed)
    return pair


@pytest.mark.parametrize(
    ("size", "noise", "epochs"),
    [(16, 0.0, 300), (8, 0.0, 100), (8, SCALE, 100)],
    ids=["16 x 16, exact", "8 x 8, exact", "8 x 8, noise added"],
)
def test_one_factor_is_one_active_unit(size, noise, epochs):
    segments = data.segments(size=size, noise=noise)
    counts, others = [], []
    for seed in range(5):
        pair = fitted(segments, epochs, seed)
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
    assert statistics.median(others) < 0.05


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
