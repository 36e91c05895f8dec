"""Digits completed from one half: how often the whole is taken for the right digit.

    python -m benchmarks.completion FOLDER [--seeds 1] [--epochs 15] [--posterior ProductOfExperts]

FOLDER holds MNIST's four IDX files. A `MultimodalVAE` is trained on the halves of the training
images, in every subset; the upper half of each of 2000 test images is completed. A classifier of
scikit-learn, trained on whole images, judges the results, beside those of the prior's draws.
"""

import argparse
import functools
import time

import torch
from sklearn.neural_network import MLPClassifier

import ppvae
from ppvae import data, networks, pairs

ROWS = 2000


def accuracy(judge, images, labels):
    """Return how often the judge takes images for their class."""
    return float((judge.predict(images.numpy()) == labels.numpy()).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--posterior", default="ProductOfExperts")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    mnist = data.mnist(chosen.folder)
    judge = MLPClassifier((200,), max_iter=15, random_state=0)
    judge.fit(mnist.train.numpy(), mnist.labels["train"].numpy())
    test, labels = mnist.test[:ROWS], mnist.labels["test"][:ROWS]
    print(f"the judge on whole test images: {accuracy(judge, test, labels):.3f}")
    views = data.halves(mnist)
    upper, lower = (view[:ROWS] for view in views.batch("test"))
    for seed in range(chosen.seeds):
        torch.manual_seed(seed)
        pair = pairs.MultimodalVAE.of(
            views,
            latent=20,
            network=functools.partial(networks.MLP, hidden=(400,)),
            posterior=getattr(pairs, chosen.posterior),
        )
        started = time.perf_counter()
        rows = data.every_subset(*views.batch("train"))
        ppvae.fit(pair, rows, epochs=chosen.epochs, batch_size=256, seed=seed)
        seconds = time.perf_counter() - started
        torch.manual_seed(seed)
        upper_of_prior, lower_of_prior = (
            view.mean for view in pair.decode(pair.prior().sample((ROWS,)))
        )
        found = {
            "given the upper half": torch.cat([upper, pair.translate([upper, None])[1]], 1),
            "given the lower half": torch.cat([pair.translate([None, lower])[0], lower], 1),
            "upper half, lower of the prior": torch.cat([upper, lower_of_prior.detach()], 1),
            "lower half, upper of the prior": torch.cat([upper_of_prior.detach(), lower], 1),
        }
        print(f"seed {seed}, {seconds:.0f} s")
        for name, images in found.items():
            print(f"  {name}: {accuracy(judge, images, labels):.3f}", flush=True)


if __name__ == "__main__":
    main()
