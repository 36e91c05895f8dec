"""Do two layers of latents pay? Held-out log P(X) of MNIST, after equal processor time.

`python -m benchmarks.layers --seeds 0 1 2 --minutes 5` trains a VAE and a hierarchical one of two
layers on one core, with the same encoder and decoder; the second layer has the rest. KL weight
and learning rate follow the processor time that is spent, so that both are trained for the whole
of it. log P(X) is by importance sampling, of the same test images.
"""

import argparse
import math
import time
from functools import partial

import torch
from torch.optim.lr_scheduler import LambdaLR

import ppvae
from ppvae import data, diagnostics, likelihoods, pairs, posteriors, priors
from ppvae.networks import First, ResidualMLP

PIXELS, HIDDEN, LOWER, UPPER = 784, 256, 48, 16
WARMUP = 0.2  # of the time, in which the weight of the KL term rises
DEAD = 0.01  # nats of KL per latent dimension

deep = partial(ResidualMLP, width=HIDDEN, depth=1)
small = partial(ResidualMLP, width=128, depth=0)


def one_layer():
    """A VAE."""
    return ppvae.VAE(
        priors.StandardNormal(LOWER),
        likelihoods.Bernoulli(deep(LOWER, PIXELS)),
        posteriors.DiagonalNormal(deep(PIXELS, 2 * LOWER)),
    )


def two_layers():
    """The same encoder, and a decoder of the lower layer alone, whose prior is the upper one."""
    upper = First(small(LOWER, 2 * UPPER))
    return pairs.HierarchicalVAE(
        [priors.ConditionalNormal(small(UPPER, 2 * LOWER)), priors.StandardNormal(UPPER)],
        likelihoods.Bernoulli(First(deep(LOWER, PIXELS))),
        pairs.BottomUp(
            [
                posteriors.DiagonalNormal(deep(PIXELS, 2 * LOWER)),
                posteriors.DiagonalNormal(upper),
            ]
        ),
    )


class Budget:
    """The share of some seconds of processor time that is spent."""

    def __init__(self, seconds):
        self.seconds, self.start = seconds, time.process_time()

    @property
    def spent(self):
        return min(1.0, (time.process_time() - self.start) / self.seconds)

    def kl_weight(self, step):
        return min(1.0, self.spent / WARMUP)

    def schedule(self, optimizer):
        return LambdaLR(optimizer, lambda epoch: (1 + math.cos(math.pi * self.spent)) / 2)

    def over(self, training):
        return self.spent == 1


def trained(build, digits, minutes, seed):
    """Return a pair that was trained for so long, its steps, and the seconds."""
    torch.manual_seed(seed)
    pair, budget = build(), Budget(60 * minutes)
    fit = ppvae.fit(
        pair,
        digits.train,
        epochs=100_000,
        batch_size=128,
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=2e-3),
        schedule=budget.schedule,
        kl_weight=budget.kl_weight,
        callbacks=[budget.over],
        seed=seed,
    )
    return pair, fit.steps, time.process_time() - budget.start


def measure(name, pair, x, draws):
    """Print log P(X) and the KL of each layer; return log P(X) of each image."""
    terms = diagnostics.evidence(pair, x, draws=draws)
    mean = diagnostics.summarize(terms).sel(term="log_evidence")
    kl = diagnostics.kl_per_site(pair, x, draws=20).kl.mean("data")
    sizes = {"z": LOWER, "z1": LOWER, "z2": UPPER}
    layers = ", ".join(
        f"{site} {float(kl.sel(site=site)):.2f}"
        + (" (dead)" if kl.sel(site=site) < DEAD * sizes[site] else "")
        for site in kl.site.values
    )
    size = terms.effective_sample_size
    print(
        f"  {name}: log P(X) {float(mean['mean']):.2f} +- {float(mean.standard_error):.2f} "
        f"(effective sample size {float(size.median()):.0f} in the median, "
        f"{float(size.quantile(0.1)):.0f} in a tenth; {float(terms.trusted.mean()):.0%} trusted), "
        f"ELBO {float(terms.elbo.mean()):.2f}, KL {layers}",
        flush=True,
    )
    return terms.log_evidence


def main(folder, seeds, minutes, images, draws):
    torch.set_num_threads(1)
    digits = data.mnist(folder)
    x = digits.test[:images]
    for seed in seeds:
        found = []
        for build in (one_layer, two_layers):
            pair, steps, seconds = trained(build, digits, minutes, seed)
            name = f"seed {seed}, {build.__name__}, {steps} steps in {seconds:.0f} s"
            found.append(measure(name, pair, x, draws))
        gain = found[1] - found[0]
        error = float(gain.std()) / math.sqrt(len(gain))
        print(f"  seed {seed}: two layers gain {float(gain.mean()):.2f} +- {error:.2f} nats")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", help="of MNIST's IDX files; by default downloaded")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=5, help="of processor time, each pair")
    parser.add_argument("--images", type=int, default=500, help="held-out images that are scored")
    parser.add_argument("--draws", type=int, default=2000, help="draws for log P(X)")
    main(**vars(parser.parse_args()))
