"""A pair of your own in plain Pyro: two latent sites, any names, no base class."""

import sys

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

import ppvae
from ppvae import data, diagnostics


class StyleAndShape(nn.Module):
    """Digits from a two-dimensional "style" and a "shape" whose prior depends on the style."""

    def __init__(self, features: int = 64, levels: int = 16) -> None:
        super().__init__()
        self.levels = levels
        self.shape_prior = nn.Linear(2, 6)
        self.pixels = nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, features))
        self.body = nn.Sequential(nn.Linear(features, 128), nn.ReLU())
        self.style = nn.Linear(128, 4)
        self.shape = nn.Linear(128 + 2, 12)

    def model(self, images: Tensor) -> None:
        """Write p(style) p(shape | style) p(image | style, shape)."""
        with pyro.plate("data", len(images)):
            style = pyro.sample("style", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            shape = pyro.sample("shape", dist.Normal(self.shape_prior(style), 1.0).to_event(1))
            logits = self.pixels(torch.cat([style, shape], dim=-1))
            levels = dist.Binomial(self.levels, logits=logits).to_event(1)
            pyro.sample("image", levels, obs=images)

    def guide(self, images: Tensor) -> None:
        """Write q(style | image) q(shape | image, style)."""
        with pyro.plate("data", len(images)):
            body = self.body(images / self.levels)
            style = pyro.sample("style", normal(self.style(body)))
            # Diagnostics draw many styles at once, in dimensions to the left of the data plate.
            body = body.expand(*style.shape[:-1], -1)
            pyro.sample("shape", normal(self.shape(torch.cat([body, style], dim=-1))))


def normal(output: Tensor) -> dist.Distribution:
    """Return the normal whose loc and raw scale are side by side in a network's output."""
    loc, raw_scale = output.chunk(2, dim=-1)
    return dist.Normal(loc, softplus(raw_scale)).to_event(1)


def main(epochs: int = 50, draws: int = 1000) -> StyleAndShape:
    """Fit, print formula (2) on held-out digits in nats per datapoint, and return the pair."""
    digits = data.digits()
    pair = StyleAndShape()
    ppvae.fit(pair, digits, epochs=epochs)
    evidence = diagnostics.evidence(pair, digits.test, draws=draws)
    print(diagnostics.summarize(evidence).to_dataframe().round(3))
    print(diagnostics.active_units(pair, digits.test).active)
    return pair


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
