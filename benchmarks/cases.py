"""What is measured: models of one shape each, and the minibatches they are given."""

from dataclasses import dataclass

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
    """

    model: str
    features: int
    hidden: int
    latent: int
    batch: int
    steps: int
    particles: int = 1

    def data(self, rows: int = 20_000) -> Tensor:
        """Return binary images with something to learn: two factors and noise."""
        generator = torch.Generator().manual_seed(0)
        factors = torch.randn(rows, 2, generator=generator)
        loadings = torch.randn(2, self.features, generator=generator)
        logits = 2 * factors @ loadings - 1
        return (torch.rand(rows, self.features, generator=generator) < logits.sigmoid()).float()


CASES = {
    "784-400-20, B=64": Case("vae", 784, 400, 20, 64, 40),
    "784-400-20, B=128": Case("vae", 784, 400, 20, 128, 40),
    "784-400-20, B=512": Case("vae", 784, 400, 20, 512, 15),
    "784-400-20, B=2048": Case("vae", 784, 400, 20, 2048, 5),
    "tiny 64-32-4, B=64": Case("vae", 64, 32, 4, 64, 150),
    "3-layer hierarchical, B=64": Case("hierarchical", 64, 64, 8, 64, 60),
    "convolutional 28x28, B=64": Case("convolutional", 784, 128, 20, 64, 8),
    "Renyi, 50 particles, B=20": Case("renyi", 784, 200, 20, 20, 10, particles=50),
    "M2, 10 classes summed out, B=64": Case("enumerated", 784, 200, 20, 64, 10),
}
