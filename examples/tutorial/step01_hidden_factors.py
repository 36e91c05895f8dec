"""Hidden factors and the data they make.

Something we do not see decides what we see. Here it is one number, the length of a line segment:
the hidden factor z. A computer turns it into an image x = f(z). If every image has the same z,
all images are the same; if z has three values, there are three clusters of images; if z is
continuous, there are no clusters. A human who draws adds many small disturbances, and the clusters
spread out.
"""

import itertools
import math
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ppvae import data
from ppvae.reports import plots

from . import page

HAND = {"jitter": 0.25, "wobble": 3.0, "noise": 0.05}


def drawings(rows: int) -> dict[str, data.Dataset]:
    """Draw the same kind of segment four times, each time with another hidden factor or hand."""
    return {
        "one length": data.segments(rows, lengths=(3,)),
        "three lengths": data.segments(rows, lengths=(1, 3, 5)),
        "three lengths, by hand": data.segments(rows, lengths=(1, 3, 5), **HAND),
        "any length": data.segments(rows),
    }


def distinct(images: Tensor) -> int:
    """Count the images that differ from each other: exact copies count once."""
    return len(torch.unique(images, dim=0))


def separation(images: Tensor, classes: Tensor) -> float:
    """Return how far the two nearest classes lie apart, in standard deviations within a class.

    Both are measured along the line that joins the centers, medians, of the two classes.
    """
    clusters = [images[classes == label] for label in classes.unique()]
    ratios = []
    for one, other in itertools.combinations(clusters, 2):
        centers = one.median(0).values, other.median(0).values
        line = centers[0] - centers[1]
        along = torch.cat([(one - centers[0]) @ line, (other - centers[1]) @ line])
        ratios.append(line.dot(line) / along.std())
    return min(ratios).item()


def largest_gap(images: Tensor) -> float:
    """Return the widest range of ink in which no image falls, as a share of the whole range."""
    ink = images.sum(1).sort().values
    return (ink.diff().max() / (ink[-1] - ink[0]).clamp(min=1e-3)).item()


def shots(number: int, disturbances: int) -> Tensor:
    """Fire at a target: each miss, across and up, is the sum of many small gusts.

    A gust is mostly weak and sometimes strong, far from normal. All together have variance 1.
    """
    gusts = torch.empty(number, 2, disturbances).exponential_() - 1
    return gusts.sum(-1) / math.sqrt(disturbances)


def shape(misses: Tensor) -> dict[str, float]:
    """Measure how far misses are from normal: skewness, excess kurtosis, Kolmogorov distance.

    All three are 0 for the normal. The last is the largest distance of the two cumulative curves.
    """
    standard = (misses - misses.mean()) / misses.std()
    ordered, number = misses.sort().values, len(misses)
    normal = torch.special.ndtr(ordered)
    ranks = torch.arange(number + 1) / number
    return {
        "skewness": standard.pow(3).mean().item(),
        "kurtosis": standard.pow(4).mean().item() - 3,
        "distance": torch.maximum(ranks[1:] - normal, normal - ranks[:-1]).max().item(),
    }


def show(folder: Path, size: float) -> dict[str, dict[str, float]]:
    """Count, separate and draw the segments; fire the machine."""
    page.begin(1, __doc__)
    torch.manual_seed(0)
    kinds = drawings(page.share(5000, size, 500))
    measured, lines = {}, []
    for name, kind in kinds.items():
        images = kind.train
        measured[name] = {"distinct": distinct(images), "gap": largest_gap(images)}
        apart = "-"
        if name.startswith("three"):
            measured[name]["separation"] = separation(images, kind.labels["train"])
            apart = f"{measured[name]['separation']:.1f}"
        lines.append(
            (name, len(images), distinct(images), apart, f"{100 * largest_gap(images):.1f} %")
        )
    header = ("hidden factor", "images", "distinct", "classes apart", "widest gap")
    page.table(header, *lines)
    page.say(
        """Classes apart: the distance of the two nearest classes in standard deviations within
        a class ("inf": copies, without any spread). Widest gap: the largest range of ink that no
        image has. Three clusters leave wide gaps, a continuous factor leaves none (its
        waves in the second figure come from the edges of the pixels)."""
    )
    examples = {name: kind.train[:12] for name, kind in kinds.items()}
    page.draw(
        plots.image_rows(examples, (16, 16), "One hidden factor, the length, drawn four ways"),
        folder,
        "01-segments",
    )
    page.draw(ink_figure(kinds), folder, "01-ink")

    page.say(
        """Why do small disturbances add up to something normal? A machine fires at a target. It
        aims well, but each shot meets many gusts of wind, none of which matters much. Whatever a
        gust looks like, the sum of many approaches the normal distribution. This is the CENTRAL
        LIMIT THEOREM. (The law of large numbers is another one: averages settle down.)"""
    )
    fired = {number: shots(page.share(50_000, size, 5000), number) for number in (1, 4, 16, 64)}
    shapes = {number: shape(hits[:, 0]) for number, hits in fired.items()}
    page.table(
        ("gusts a shot", "skewness", "excess kurtosis", "Kolmogorov distance"),
        *((number, *(f"{value:.4f}" for value in shapes[number].values())) for number in fired),
    )
    page.say(
        """Four times as many gusts halve skewness and distance and quarter the kurtosis, until
        what is left is the scatter of a finite number of shots."""
    )
    page.draw(target_figure(fired), folder, "01-central-limit")
    return measured | {f"{number} gusts": values for number, values in shapes.items()}


def ink_figure(kinds: dict[str, data.Dataset]) -> Figure:
    """Draw how much ink the images hold: a spike, spikes, clusters, or one broad range."""
    figure, axes = page.panels(len(kinds), height=2.6)
    for panel, (name, kind) in zip(axes, kinds.items(), strict=True):
        panel.hist(kind.train.sum(1).tolist(), bins=60, range=(2, 32), color="0.35")
        panel.set_title(name)
        panel.set_xlabel("ink: sum of the pixels")
        panel.set_yticks([])
    axes[0].set_ylabel("number of images")
    return figure


def target_figure(fired: dict[int, Tensor]) -> Figure:
    """Draw the hits on the target, and the misses across it against the normal density."""
    numbers = [number for number in fired if number != 16]
    figure, axes = page.panels(len(numbers), rows=2)
    z = torch.linspace(-4, 4, 200)
    for number, target, misses in zip(numbers, axes[:3], axes[3:], strict=True):
        across, up = fired[number][:2000].T.tolist()
        target.plot(across, up, ".", color="black", markersize=2, alpha=0.4)
        target.set(xlim=(-4, 6), ylim=(-4, 6), aspect="equal")
        target.set_title(f"{number} gust{'s' if number > 1 else ''} a shot")
        target.set_xlabel("miss across, standard deviations")
        misses.hist(
            fired[number][:, 0].tolist(), bins=80, range=(-4, 6), density=True, color="0.75"
        )
        misses.plot(z, torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi), "k", label="N(0, 1)")
        misses.set_xlabel("miss across, standard deviations")
        misses.legend(frameon=False)
    axes[0].set_ylabel("miss up, standard deviations")
    axes[3].set_ylabel("density")
    return figure
