"""Turned MNIST digits: does the latent angle follow the true one, and the content the class?

    python -m benchmarks.rotations FOLDER [--rows 10000] [--epochs 30] [--degrees 60]

FOLDER holds MNIST's four IDX files. Training and test images are turned by angles drawn uniformly
between minus and plus so many degrees. Prints for each class the correlation of the angle of a
`SpatialVAE` with the true one on 2000 test images, and how well a linear classifier, trained on
the latents of 2000 other test images, tells the classes from the content: against the latents of a
VAE with an encoder of the same size, trained on the same images for as long.
"""

import argparse
import functools
import math
import time

import numpy as np
import torch
from scipy.ndimage import rotate
from sklearn.linear_model import LogisticRegression

import ppvae
from ppvae import data, networks, pairs

CONTENT = 4


def turned(images, generator, degrees):
    """Return images turned by random angles, and these in degrees."""
    angles = (2 * torch.rand(len(images), generator=generator) - 1) * degrees
    whole = images.reshape(-1, 28, 28).numpy()
    pairs_of = zip(whole, angles.tolist(), strict=True)
    made = np.stack([rotate(x, a, reshape=False, order=1) for x, a in pairs_of])
    return torch.from_numpy((made > 0.5).astype(np.float32)).flatten(1), angles


def probed(latents, labels):
    """Return the accuracy of a linear classifier on the second half."""
    half = len(latents) // 2
    scaled = ((latents - latents.mean(0)) / latents.std(0)).numpy()
    fitted = LogisticRegression(max_iter=2000).fit(scaled[:half], labels[:half])
    return float(fitted.score(scaled[half:], labels[half:]))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--degrees", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    mnist = data.mnist(chosen.folder)
    generator = torch.Generator().manual_seed(chosen.seed)
    train, _ = turned(mnist.train[: chosen.rows], generator, chosen.degrees)
    test, angles = turned(mnist.test[:4000], generator, chosen.degrees)
    labels = mnist.labels["test"][:4000]
    views = data.split("turned", train, mnist.support, image_shape=(28, 28))
    torch.manual_seed(chosen.seed)
    spatial = pairs.SpatialVAE.of(
        views,
        latent=CONTENT,
        rotation=math.radians(chosen.degrees) / 3**0.5,
        shift=0.05,
        network=functools.partial(networks.MLP, hidden=(64, 64)),
    )
    adam = functools.partial(torch.optim.Adam, lr=2e-3)
    options = {"batch_size": 100, "optimizer": adam}
    started = time.perf_counter()
    ppvae.fit(
        spatial,
        views,
        epochs=chosen.epochs,
        batch_size=100,
        optimizer=functools.partial(torch.optim.Adam, lr=2e-3),
        seed=chosen.seed,
    )
    seconds = time.perf_counter() - started
    torch.manual_seed(chosen.seed)
    plain = pairs.assemble(views, latent=CONTENT + spatial.decoder.pose, network=networks.MLP)
    ppvae.fit(
        plain,
        views,
        epochs=chosen.epochs,
        batch_size=100,
        optimizer=functools.partial(torch.optim.Adam, lr=2e-3),
        seed=chosen.seed,
    )
    found = np.array(
        [
            abs(np.corrcoef(spatial.pose(test[of])[0].numpy(), angles[of].numpy())[0, 1])
            for of in (labels == number for number in range(10))
        ]
    )
    print(f"trained in {seconds:.0f} s")
    print(f"correlation of the angles by class: {found.round(3)}, least {found.min():.3f}")
    content = spatial.encode(test).mean[:, spatial.decoder.pose :]
    print(f"classes from the content: {probed(content, labels):.3f}")
    print(
        f"classes from all latents of a plain VAE: {probed(plain.encode(test).mean, labels):.3f}"
    )


if __name__ == "__main__":
    main()
