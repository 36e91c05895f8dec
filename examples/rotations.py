"""Find by what angle each digit was turned, which no label tells, and turn all of them upright."""

import argparse
import functools
import math
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import ppvae
from ppvae import data, networks, pairs

DEGREES = 45.0


def shown(test: Tensor, aligned: Tensor, found: np.ndarray, true: np.ndarray) -> Figure:
    """Return a figure: found against true angles, and digits as they are and upright."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.5])
    left.scatter(true, found, s=6, color="0.3")
    left.set(xlabel="true angle, degrees", ylabel="mean of the latent angle, degrees")
    left.set_title("Sixes", fontsize=10)
    rows = [torch.cat(list(part[::55].reshape(-1, 8, 8)), 1) for part in (test, aligned)]
    right.imshow(torch.cat(rows, 0).numpy(), cmap="gray_r")
    right.set(xticks=[], yticks=[])
    right.set_title("Held-out sixes: as they are, and at the angle 0", fontsize=10)
    return figure


def main(epochs: int = 40, digit: int = 6, output: str = ".") -> None:
    """Train on turned images of one digit and write `rotations.png`."""
    torch.manual_seed(0)
    # Each image is turned in several ways: there are few of one digit.
    turned = data.posed(data.digits(), rotation=math.radians(DEGREES), copies=20)
    of = {part: labels == digit for part, labels in turned.labels.items()}
    train = turned.train[of["train"]]
    test = torch.cat([turned.validation[of["validation"]], turned.test[of["test"]]])
    poses = torch.cat([turned.factors[part][of[part]] for part in ("validation", "test")])
    true = poses[:, 0].rad2deg().numpy()
    images = data.split("turned", train, turned.support, image_shape=turned.image_shape)
    # A large network would draw turned digits as other contents; a wide prior makes turning cheap.
    pair = pairs.SpatialVAE.of(
        images,
        latent=2,
        rotation=math.pi / 3,
        network=functools.partial(networks.MLP, hidden=(32,)),
    )
    adam = functools.partial(torch.optim.Adam, lr=1e-3)
    ppvae.fit(pair, images.train, epochs=epochs, optimizer=adam)
    found = pair.pose(test)[0].rad2deg().numpy()
    print(f"{len(train)} turned images of {digit}, {len(test)} others to test")
    print(f"correlation of found and true angles  {np.corrcoef(found, true)[0, 1]:.3f}")
    aligned = pair.align(test)
    for name, part in (("as they are", test), ("at the angle 0", aligned)):
        print(f"standard deviation of a pixel {name:15s} {float(part.std(0).mean()):.2f}")
    Path(output).mkdir(parents=True, exist_ok=True)
    shown(test, aligned, found, true).savefig(Path(output) / "rotations.png", dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--digit", type=int, default=6)
    parser.add_argument("--output", default=".", help="folder of the figure")
    main(**vars(parser.parse_args()))
