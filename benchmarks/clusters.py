"""Clusters of MNIST that a MixtureVAE finds without labels, and how well they are the digits.

    python -m benchmarks.clusters FOLDER [--seeds 0 1 2 3 4] [--components 10]

A plain VAE is trained, `mixture_from` starts the mixture at its latents, and all is trained
together; no label is used, and nothing is chosen between runs. Accuracy is that of the test
images, by the best one-to-one assignment of components to digits; with more components than
digits each stands for the digit that it holds most of ("majority"). Seconds are of the processor.
FOLDER holds MNIST's four IDX files.
"""

import argparse
import functools
import statistics
import time

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

import ppvae
from ppvae import data, networks, pairs
from ppvae.inference import CosineDecay

LATENT, BATCH, RATE = 10, 256, 2e-3
PLAIN, MIXTURE = 10, 30  # epochs
RESTARTS, DRAWS = 5, 10


def accuracies(probabilities, labels):
    """Return the accuracy of the best one-to-one assignment, and of the majority in each."""
    table = np.zeros((probabilities.shape[1], int(labels.max()) + 1), dtype=int)
    np.add.at(table, (probabilities.argmax(1).numpy(), labels.numpy()), 1)
    rows, columns = linear_sum_assignment(-table)
    return table[rows, columns].sum() / len(labels), table.max(1).sum() / len(labels)


def train(pair, digits, epochs, seed):
    return ppvae.fit(
        pair,
        digits.train,
        epochs=epochs,
        batch_size=BATCH,
        optimizer=functools.partial(torch.optim.Adam, lr=RATE),
        schedule=CosineDecay,
        compile_from=1,
        seed=seed,
    )


def run(digits, components, seed):
    """Train one pair; print its accuracies at the start and at the end."""
    torch.manual_seed(seed)
    begin, labels = time.process_time(), digits.labels["test"]
    network = functools.partial(networks.MLP, hidden=[500, 500])
    plain = pairs.assemble(digits, latent=LATENT, network=network)
    train(plain, digits, PLAIN, seed)
    pair = pairs.mixture_from(plain, digits, components, restarts=RESTARTS, seed=seed)
    start, _ = accuracies(pair.cluster(digits.test, draws=DRAWS), labels)
    fitted = train(pair, digits, MIXTURE, seed)
    seconds = time.process_time() - begin
    end, majority = accuracies(pair.cluster(digits.test, draws=DRAWS), labels)
    elbo = -float(fitted.history.train_loss[-1])
    print(
        f"seed {seed}: accuracy {end:.3f} (at the start {start:.3f}, majority {majority:.3f}), "
        f"ELBO in training {elbo:.2f}, {seconds:.0f} s",
        flush=True,
    )
    return end


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5))
    parser.add_argument("--components", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    digits = data.mnist(options.folder)
    found = [run(digits, options.components, seed) for seed in options.seeds]
    print(f"median {statistics.median(found):.3f} of {len(found)} seeds")


if __name__ == "__main__":
    main()
