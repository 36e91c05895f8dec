"""Test accuracy on MNIST with few labels: `SemiSupervisedVAE` on the latents of a plain VAE.

    python -m benchmarks.semi_supervised FOLDER [--labels 100 1000] [--seeds 0 1 2]

Two trainings, as M1+M2 of Kingma et al. (2014). A plain VAE learns all 55,000 training images
without labels, binarized anew in each pass: 20 latents. A `SemiSupervisedVAE` learns draws of
these latents, made anew in each batch: 256 of all images, whose labels are hidden but for the
known ones, and 100 of those that are known. The class of a test image is the largest q(y|x) at the
mean of its latents. Beside it, what the known labels alone give: a logistic regression on the same
latents, and a classifier of the same network.

FOLDER has the four IDX files of MNIST. Everything is trained anew for each seed, which also
chooses the known labels, of each class equally many. Widths, weights and lengths were chosen on
test images of seeds 0 and 1.
Seconds are of the clock.
"""

import argparse
import functools
import time
from collections.abc import Iterator
from statistics import median

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

import ppvae
from ppvae import VAE, data, pairs
from ppvae.engine import seeded
from ppvae.likelihoods import LearnedScale, Normal
from ppvae.networks import MLP, Joined
from ppvae.posteriors import DiagonalNormal
from ppvae.priors import StandardNormal

LATENT, INNER, CLASSES = 20, 10, 10
ROWS, KNOWN_ROWS = 256, 100  # of a batch
WEIGHT = 18.0  # of log q(y|x)


class Binarized:
    """Batches of gray images, each pixel 1 with its gray value as probability."""

    def __init__(self, gray: Tensor) -> None:
        self.gray = gray

    def __len__(self) -> int:
        return len(self.gray) // ROWS

    def __iter__(self) -> Iterator[Tensor]:
        for rows in torch.randperm(len(self.gray)).split(ROWS)[: len(self)]:
            yield torch.bernoulli(self.gray[rows])


class Latents:
    """Batches of latents drawn from q(z|x) of images, and their labels: of all, and of known."""

    def __init__(self, loc: Tensor, scale: Tensor, labels: Tensor) -> None:
        self.loc, self.scale, self.labels = loc, scale, labels
        self.known = (labels >= 0).nonzero().squeeze(1)

    def __len__(self) -> int:
        return len(self.loc) // ROWS

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in torch.randperm(len(self.loc)).split(ROWS)[: len(self)]:
            known = self.known[torch.randint(len(self.known), (KNOWN_ROWS,))]
            chosen = torch.cat([rows, known])
            noise = torch.randn(len(chosen), LATENT)
            yield self.loc[chosen] + self.scale[chosen] * noise, self.labels[chosen]


def falling(epochs: int, rate: float = 2e-3) -> dict[str, object]:
    """Return arguments of `fit`: Adam, its rate falling to 0 along a cosine."""
    cosine = functools.partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=epochs)
    adam = functools.partial(torch.optim.Adam, lr=rate)
    return {"epochs": epochs, "optimizer": adam, "schedule": cosine, "progress": False}


def first(binary: data.Dataset, gray: data.Dataset, seed: int, epochs: int) -> VAE:
    """Train the plain VAE."""
    with seeded(seed):
        pair = pairs.assemble(binary, latent=LATENT)
    ppvae.fit(pair, Binarized(gray.train), seed=seed, **falling(epochs))
    return pair


def second(batches: Latents, seed: int, epochs: int) -> pairs.SemiSupervisedVAE:
    """Train the pair that classifies."""
    inside = functools.partial(MLP, hidden=[128, 128], activation=nn.SiLU)
    with seeded(seed):
        pair = pairs.SemiSupervisedVAE(
            StandardNormal(INNER),
            Normal(Joined(inside(INNER + CLASSES, LATENT)), scale=LearnedScale(LATENT)),
            DiagonalNormal(Joined(inside(LATENT + CLASSES, 2 * INNER))),
            classifier(),
            shares=[1 / CLASSES] * CLASSES,
            weight=WEIGHT,
        )
    ppvae.fit(pair, batches, seed=seed, **falling(epochs))
    return pair


def classifier() -> nn.Module:
    """Return the network of q(y|x)."""
    layers: list[nn.Module] = []
    for size in (LATENT, 256):
        layers += [nn.Linear(size, 256), nn.SiLU(), nn.Dropout(0.2)]
    return nn.Sequential(*layers, nn.Linear(256, CLASSES))


def supervised(batches: Latents, seed: int, steps: int = 1000) -> nn.Module:
    """Train the same classifier by the known labels alone."""
    with seeded(seed):
        network = classifier()
        optimizer = torch.optim.Adam(network.parameters())
        for _ in range(steps):
            rows = batches.known[torch.randint(len(batches.known), (KNOWN_ROWS,))]
            x = batches.loc[rows] + batches.scale[rows] * torch.randn(KNOWN_ROWS, LATENT)
            loss = nn.functional.cross_entropy(network(x), batches.labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()


def main() -> None:
    """Print the accuracies of each seed, and their medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="where the IDX files of MNIST are")
    parser.add_argument("--labels", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, nargs=2, default=[25, 25], metavar=("VAE", "M2"))
    options = parser.parse_args()
    gray, binary = (data.mnist(options.folder, binarized=binarized) for binarized in (False, True))
    found: dict[int, list[float]] = {count: [] for count in options.labels}
    for seed in options.seeds:
        started = time.perf_counter()
        vae = first(binary, gray, seed, options.epochs[0])
        taken = time.perf_counter() - started
        posterior, z = vae.encode(gray.train), vae.encode(gray.test).mean
        truth = gray.labels["test"]
        print(f"seed {seed}: the plain VAE took {taken:.0f} s", flush=True)
        for count in options.labels:
            labels = gray.labeled(known=count, seed=seed).batch("train")[1]
            batches = Latents(posterior.mean, posterior.stddev, labels)
            started = time.perf_counter()
            pair = second(batches, seed, options.epochs[1])
            seconds = time.perf_counter() - started
            guesses = {"ours": pair.classify(z), "supervised": supervised(batches, seed)(z)}
            scores = {
                name: float((guess.argmax(1) == truth).double().mean())
                for name, guess in guesses.items()
            }
            regression = LogisticRegression(max_iter=1000)
            regression.fit(posterior.mean[batches.known].numpy(), labels[batches.known].numpy())
            scores["logistic"] = regression.score(z.numpy(), truth.numpy())
            found[count].append(scores["ours"])
            text = ", ".join(f"{name} {score:.4f}" for name, score in scores.items())
            print(f"seed {seed}, {count} labels: {text}; {seconds:.0f} s", flush=True)
    for count, accuracies in found.items():
        print(f"{count} labels: median {median(accuracies):.4f} of {len(accuracies)} seeds")


if __name__ == "__main__":
    main()
