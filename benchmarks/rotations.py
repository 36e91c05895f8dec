"""Turned MNIST digits: does the latent angle follow the true one, and the content the class?

    python -m benchmarks.rotations FOLDER [--rows 50000] [--epochs 30] [--by-class] [--supervised]

FOLDER holds MNIST's four IDX files. Training and test images are turned by angles drawn uniformly
between minus and plus so many degrees. Prints for each class Pearson's correlation of the mean
angle of a `SpatialVAE` with the true one over 4000 test images, without its sign: an offset and
a sign of each class are free, nothing else, not a half turn of 0, 1 or 8 either. Then how well a
linear classifier, trained on the latents of 2000 of these images, tells the classes of the others
from the content: against all latents of a VAE with as many and the same networks, trained on the
same images for as long. `--by-class` then trains a small pair on the images of each class alone,
so that no class can be taken for another one turned. `--supervised` trains a convolutional
network on the true angles: how a digit was written is no part of them, so that no method reaches
1.
"""

import argparse
import functools
import math
import time

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

import ppvae
from ppvae import data, networks, pairs

CONTENT = 16


def probed(latents, labels):
    """Return the accuracy of a linear classifier on the second half."""
    half = len(latents) // 2
    scaled = ((latents - latents.mean(0)) / latents.std(0)).numpy()
    fitted = LogisticRegression(max_iter=2000).fit(scaled[:half], labels[:half])
    return float(fitted.score(scaled[half:], labels[half:]))


def by_class(found, angles, labels):
    """Return the correlations of found and true angles, one a class, as text."""
    of = [abs(np.corrcoef(found[labels == n], angles[labels == n])[0, 1]) for n in range(10)]
    return f"{' '.join(f'{r:.2f}' for r in of)}, least {min(of):.3f}, mean {np.mean(of):.3f}"


def supervised(train, angles, epochs=8):
    """Return a convolutional network that was told the angles."""
    image = (1, 28, 28)
    network = nn.Sequential(nn.Unflatten(-1, image), networks.ConvEncoder(image, 1, (16, 32)))
    adam = torch.optim.Adam(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, epochs)
    for _ in range(epochs):
        for rows in torch.randperm(len(train)).split(100):
            error = network(train[rows]).squeeze(-1) - angles[rows] / angles.std()
            adam.zero_grad()
            error.square().mean().backward()
            adam.step()
        schedule.step()
    return network


def placed(views, content, hidden, degrees):
    """Return a pair of turned and slightly moved images, not yet trained."""
    return pairs.SpatialVAE.of(
        views,
        latent=content,
        rotation=math.radians(degrees) / 3**0.5,
        shift=0.05,
        network=functools.partial(networks.MLP, hidden=(256,)),
        encoder=functools.partial(networks.MLP, hidden=hidden),
    )


def schedule_of(epochs, seed):
    """Return what `fit` is given."""
    return {
        "epochs": epochs,
        "seed": seed,
        "batch_size": 100,
        "optimizer": functools.partial(torch.optim.Adam, lr=2e-3),
        "schedule": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, epochs),
        "progress": False,
    }


def alone(train, of, test, labels, support, degrees, seed):
    """Return the angles of test images by pairs trained on the images of one class each."""
    found = torch.zeros(len(test))
    for number in range(10):
        rows = train[of == number]
        views = data.split("turned", rows, support, image_shape=(28, 28))
        torch.manual_seed(seed)
        pair = placed(views, 4, (256, 128), degrees)
        ppvae.fit(pair, views.train, **schedule_of(60, seed))
        found[labels == number] = pair.pose(test[labels == number])[0]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--degrees", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--by-class", action="store_true")
    parser.add_argument("--supervised", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    mnist = data.mnist(chosen.folder)
    turned = data.posed(mnist, rotation=math.radians(chosen.degrees), seed=chosen.seed)
    train, test = turned.train[: chosen.rows], turned.test[:4000]
    told, angles = turned.factors["train"][: chosen.rows, 0], turned.factors["test"][:4000, 0]
    labels = mnist.labels["test"][:4000]
    views = data.split("turned", train, mnist.support, image_shape=(28, 28))
    torch.manual_seed(chosen.seed)
    spatial = placed(views, CONTENT, (512, 256), chosen.degrees)
    options = schedule_of(chosen.epochs, chosen.seed)
    started = time.perf_counter()
    ppvae.fit(spatial, views.train, **options)
    print(f"trained in {time.perf_counter() - started:.0f} s")
    print(f"angles: {by_class(spatial.pose(test)[0], angles, labels)}")
    content = spatial.encode(test).mean[:, spatial.decoder.pose :]
    print(f"classes from the content: {probed(content, labels):.3f}", flush=True)
    torch.manual_seed(chosen.seed)
    latent = CONTENT + spatial.decoder.pose
    encoder = networks.MLP(784, 2 * latent, hidden=(512, 256))
    decoder = networks.MLP(latent, 784, hidden=(256,))
    plain = pairs.VAE(
        ppvae.priors.StandardNormal(latent),
        ppvae.likelihoods.Bernoulli(decoder),
        ppvae.posteriors.DiagonalNormal(encoder),
    )
    ppvae.fit(plain, views.train, **options)
    print(
        f"classes from all latents of a plain VAE: {probed(plain.encode(test).mean, labels):.3f}"
    )
    if chosen.by_class:
        of = mnist.labels["train"][: chosen.rows]
        found = alone(train, of, test, labels, mnist.support, chosen.degrees, chosen.seed)
        print(f"angles by pairs of one class each: {by_class(found, angles, labels)}", flush=True)
    if chosen.supervised:
        network = supervised(train, told)
        with torch.no_grad():
            found = network(test).squeeze(-1)
        print(f"angles of a network that is told them: {by_class(found, angles, labels)}")


if __name__ == "__main__":
    main()
