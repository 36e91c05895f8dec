"""The figures of a VAE of images."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.distributions import constraints

from ppvae.data import Dataset
from ppvae.engine import isolated, row_chunks
from ppvae.reports import plots
from ppvae.reports.given import known_only, sampled_mean
from ppvae.reports.plots.mosaics import Limits, Shape
from ppvae.reports.subject import MOVED_BY, ROWS, Subject

_SHOWN = 10  # images in a row
_GRID = 64  # images in a grid
_STEPS = 11  # images along a traversal
_REACH = 2.5  # standard deviations that a traversal goes to either side
_MOVED = 12  # latents that a traversal moves


@dataclass(frozen=True)
class ImageLook:
    """How the images of a dataset are drawn.

    Args:
        shape: height and width; channels, height and width if there are several channels.
        limits: the values at the ends of the scale of grays, the bounds of the support; None where
            it has none.
        inverted: whether high values are dark.
    """

    shape: Shape
    limits: Limits
    inverted: bool


def image_look(dataset: Dataset) -> ImageLook:
    """Return how the images of a dataset are drawn."""
    assert dataset.image_shape is not None
    height, width = dataset.image_shape
    channels = dataset.event_shape.numel() // (height * width)
    low, high = (getattr(dataset.support, name, None) for name in ("lower_bound", "upper_bound"))
    if dataset.support is constraints.boolean:
        low, high = 0, 1
    limits = None if low is None or high is None else (float(low), float(high))
    shape = (height, width) if channels == 1 else (channels, height, width)
    return ImageLook(shape, limits, dataset.ink)


def image_figures(subject: Subject) -> Iterator[tuple[str, Figure]]:
    """Yield reconstructions, samples, and where latents fill R^d the figures of their means."""
    look = image_look(subject.dataset)
    yield from _made(subject, look)
    if subject.fills_space:
        if len(subject.means) >= 2 * _SHOWN:
            yield "worst-and-best", _worst_and_best(subject, look)
        yield from _moved(subject, look)


def _made(subject: Subject, look: ImageLook) -> Iterator[tuple[str, Figure]]:
    pair, batch, given = subject.pair, subject.batch, subject.given
    options: dict[str, Any] = {"limits": look.limits, "inverted": look.inverted}
    shown = tuple(part[:_SHOWN] for part in batch)
    many = tuple(part[torch.arange(_GRID) % len(part)] for part in batch)
    with isolated(pair, subject.seed):
        rows = {
            "data": known_only(subject.dataset, shown).cpu(),
            "reconstruction": pair.reconstruct(*shown).cpu(),
        }
        if len(batch) == 1:
            samples = pair.decode(pair.prior().sample((_GRID,))).mean.cpu()
        elif given is None:
            samples = sampled_mean(pair, many).cpu()
        else:
            by_class = {
                name: sampled_mean(pair, rows_of_class).cpu()
                for name, rows_of_class in given.rows(batch, _SHOWN)
            }
    title = f"{subject.split.capitalize()} data and their reconstructions: mean of p(x|z) at a "
    title += "draw z of q(z|x)"
    yield "reconstructions", plots.image_rows(rows, look.shape, title, **options)
    title = "New images: mean of p(x|z) at draws z of the prior"
    if given is None:
        yield "samples", plots.image_grid(samples, look.shape, title, **options)
    else:
        title = "New images by class y: mean of p(x|z, y) at draws z of the prior"
        yield "samples", plots.image_rows(by_class, look.shape, title, **options)


def _worst_and_best(subject: Subject, look: ImageLook) -> Figure:
    pair, (x, *others) = subject.pair, subject.batch
    with isolated(pair, subject.seed):
        scores = torch.cat(
            [
                pair.decode(z, *conditions).log_prob(chunk)
                for chunk, z, *conditions in row_chunks((x, subject.means, *others), ROWS)
            ]  # all pixels at once are many
        )
    ranked = scores.argsort()
    worst, best = ranked[:_SHOWN], ranked[-_SHOWN:].flip(0)
    rows: dict[str, Tensor] = {}
    texts: dict[str, list[str]] = {}
    with isolated(pair, seed=0):
        for name, chosen in (("worst", worst), ("best", best)):
            z, *part = (tensor[chosen] for tensor in (subject.means, *subject.batch))
            rows[name] = known_only(subject.dataset, tuple(part)).cpu()
            rows[f"{name}, decoded"] = pair.decode(z, *part[1:]).mean.cpu()
            texts[name] = _short([subject.name(place) for place in chosen.tolist()])
    title = (
        f"Worst and best reconstructed, with their rows: log p(x|z) at the mean of q(z|x) is "
        f"{float(scores[worst[0]]):.1f} at worst, {float(scores.median()):.1f} in the median, "
        f"{float(scores[best[0]]):.1f} at best, in nats"
    )
    return plots.image_rows(
        rows, look.shape, title, limits=look.limits, inverted=look.inverted, texts=texts
    )


def _short(names: list[str]) -> list[str]:
    """Return names without folders and endings where they are files of pictures."""
    files = [PurePath(name).name for name in names]
    endings = {PurePath(name).suffix.lower() for name in files}
    pictures = endings <= {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp"}
    return [PurePath(name).stem for name in files] if pictures else names


def _moved(subject: Subject, look: ImageLook) -> Iterator[tuple[str, Figure]]:
    """Yield the figures in which the latents move: traversals and the manifold."""
    note = subject.setting[1]
    moved, which = subject.active(_MOVED)
    if moved:
        values = np.linspace(-_REACH, _REACH, _STEPS)
        images = subject.traversed(moved, values).reshape(len(moved), _STEPS, -1)
        names = [f"z_{latent}" for latent in moved]
        figure = plots.traversals(
            images.cpu(), look.shape, names, values, limits=look.limits, inverted=look.inverted,
            note=note + which, unit=MOVED_BY,
        )  # fmt: skip
        yield "traversals", figure
    if subject.means.shape[1] == 2:
        loc, scale = subject.prior
        grid = torch.as_tensor(plots.quantile_grid()).to(subject.batch[0])
        images = subject.decoded(loc + scale * grid)
        figure = plots.manifold(
            images.cpu(), look.shape, limits=look.limits, inverted=look.inverted, note=note
        )
        yield "manifold", figure
