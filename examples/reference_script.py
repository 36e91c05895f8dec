"""The classic first VAE: MNIST with two latent dimensions, and its manifold of images."""

import argparse
import functools
import math
from pathlib import Path

import pyro.distributions as dist
import torch
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor, nn

import ppvae
from ppvae import data, diagnostics, likelihoods, posteriors, priors
from ppvae.reports import plots


class LogVarianceNormal(posteriors.Posterior):
    """q(z|x) = N(loc(x), exp(log_variance(x))): two linear heads on what a network returns."""

    def __init__(self, network: nn.Module, loc: nn.Module, log_variance: nn.Module) -> None:
        super().__init__(network)
        self.loc = loc
        self.log_variance = log_variance

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return q(z|x)."""
        hidden = self.network(*conditions)
        scale = torch.exp(self.log_variance(hidden) / 2)
        return dist.Normal(self.loc(hidden), scale).to_event(1)


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a layer with weights of variance 2 / inputs and biases of variance 2 / outputs."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=math.sqrt(2 / inputs))
    nn.init.normal_(layer.bias, std=math.sqrt(2 / outputs))
    return layer


def build(features: int, hidden: int = 512, latent: int = 2) -> ppvae.VAE:
    """Return the pair. Gray pixels scored as Bernoulli are a pseudo-likelihood, not a density."""
    decoder = nn.Sequential(linear(latent, hidden), nn.Tanh(), linear(hidden, features))
    encoder = nn.Sequential(linear(features, hidden), nn.Tanh())
    return ppvae.VAE(
        prior=priors.StandardNormal(latent),
        likelihood=likelihoods.GrayBernoulli(decoder),
        posterior=LogVarianceNormal(encoder, linear(hidden, latent), linear(hidden, latent)),
    )


def train(pair: ppvae.VAE, digits: data.Dataset, steps: int, seed: int = 0) -> None:
    """Fit by RMSProp with the constants of the original program.

    torch's step is lr * g / (sqrt(mean square of g) + eps). The constants were written for
    TensorFlow, which adds eps under the root, so that gradients below sqrt(eps) are damped, and
    averages the loss over the minibatch. Pyro sums the loss: its gradient is 64 times larger, and
    the step is the same as long as the gradient is far above eps = 1e-10.
    """
    rmsprop = functools.partial(torch.optim.RMSprop, lr=1e-3, alpha=0.9, eps=1e-10)
    closed_form = TraceMeanField_ELBO()  # the KL by formula instead of by a draw
    ppvae.fit(
        pair,
        digits,
        steps=steps,
        batch_size=64,
        objective=closed_form,
        optimizer=rmsprop,
        seed=seed,
    )


def score(pair: ppvae.VAE, x: Tensor, draws: int = 10) -> dict[str, float]:
    """Return the negative ELBO and its two terms, in nats per datapoint.

    `diagnostics.evidence` refuses a pseudo-likelihood, since it does not define log P(X).
    """
    loss = -float(diagnostics.weights(pair, x, draws=draws).mean())
    kl = float(diagnostics.kl_per_dimension(pair, x).sum())
    return {"negative ELBO": loss, "reconstruction": loss - kl, "KL": kl}


def manifold(pair: ppvae.VAE, image_shape: tuple[int, int], path: Path) -> Tensor:
    """Draw the images that a 20 x 20 grid of the prior's quantiles decodes to; return them."""
    grid = torch.tensor(plots.quantile_grid(20), dtype=torch.float32)
    with torch.no_grad():
        images: Tensor = pair.decode(grid).mean
    plots.manifold(images, image_shape).savefig(path, dpi=150)
    return images


def main(folder: str | None = None, steps: int = 30_000, output: str = ".", seed: int = 0) -> None:
    """Fit, print the loss on the test images and write `manifold.png` into a folder."""
    digits = data.mnist(folder, binarized=False)
    torch.manual_seed(seed)
    pair = build(*digits.event_shape)
    train(pair, digits, steps, seed)
    for name, value in score(pair, digits.test).items():
        print(f"{name:15s}{value:9.2f} nats per test image")
    Path(output).mkdir(parents=True, exist_ok=True)
    manifold(pair, digits.image_shape, Path(output) / "manifold.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", help="of MNIST's IDX files; by default downloaded")
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--output", default=".", help="folder of the figure")
    parser.add_argument("--seed", type=int, default=0)
    main(**vars(parser.parse_args()))
