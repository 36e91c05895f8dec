"""What is measured: models of one shape each, and the minibatches they are given."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Case:
    """A model and its data.

    Attributes:
        model: "vae", "hierarchical", "convolutional", "renyi" or "enumerated".
        features: pixels of an image, binary.
        hidden: units of each hidden layer.
        latent: dimensions of each latent layer.
        batch: rows of a minibatch.
        steps: of one round.
        particles: of the Renyi bound.
        rows: of the data.
    """

    model: str
    features: int
    hidden: int
    latent: int
    batch: int
    steps: int
    particles: int = 1
    rows: int = 20_000

    def data(self, seed: int = 0) -> Tensor:
        """Return binary images with something to learn: two factors and noise."""
        loadings = torch.randn(2, self.features, generator=torch.Generator().manual_seed(0))
        generator = torch.Generator().manual_seed(1 + seed)
        logits = 2 * torch.randn(self.rows, 2, generator=generator) @ loadings - 1
        uniform = torch.rand(self.rows, self.features, generator=generator)
        return (uniform < logits.sigmoid()).float()


_BASE = Case("vae", 784, 400, 20, 128, 40)

CASES = {
    "784-400-20, B=64": Case("vae", 784, 400, 20, 64, 40),
    "784-400-20, B=128": _BASE,
    "784-400-20, B=512": Case("vae", 784, 400, 20, 512, 15),
    "784-400-20, B=2048": Case("vae", 784, 400, 20, 2048, 5),
    "tiny 64-32-4, B=64": Case("vae", 64, 32, 4, 64, 150),
    "3-layer hierarchical, B=64": Case("hierarchical", 64, 64, 8, 64, 60),
    "convolutional 28x28, B=64": Case("convolutional", 784, 128, 20, 64, 8),
    "Renyi, 50 particles, B=20": Case("renyi", 784, 200, 20, 20, 10, particles=50),
    "M2, 10 classes summed out, B=64": Case("enumerated", 784, 200, 20, 64, 10),
}

GROWTH = {
    "2,000 rows": replace(_BASE, rows=2_000),
    "20,000 rows": _BASE,
    "200,000 rows": replace(_BASE, rows=200_000),
    "2 latents": replace(_BASE, latent=2),
    "200 latents": replace(_BASE, latent=200),
    "100 hidden units": replace(_BASE, hidden=100),
    "1,600 hidden units": replace(_BASE, hidden=1600, steps=10),
}
