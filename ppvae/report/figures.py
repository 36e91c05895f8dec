"""The figures of a fitted VAE on a dataset: images that it makes, and its latent space."""

from collections.abc import Iterator

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import constraints

from ppvae import diagnostics
from ppvae.data import Dataset
from ppvae.engine import as_batch, isolated, row_chunks
from ppvae.pairs import VAE
from ppvae.report import plots
from ppvae.report.plots.images import Limits, Shape

_SHOWN = 12  # images in a row
_GRID = 64  # images in a grid
_STEPS = 11  # images along a traversal
_ROWS = 1000  # datapoints that are decoded together


def gallery(
    pair: VAE, dataset: Dataset, split: str, *, seed: int = 0
) -> Iterator[tuple[str, Figure]]:
    """Yield the figures that fit the dataset and the number of latents, each with its name.

    With two latents or more: a scatter of the posterior means in the two that vary most, colored
    by label if there are labels. For images: reconstructions, the worst and the best of them,
    samples, a traversal of each active latent, and with two latents the manifold. For latents that
    do not fill R^d, such as those on a sphere, there are reconstructions and samples only: a
    posterior mean, or a step along an axis, lies outside their space.

    Args:
        pair: the pair.
        dataset: the data.
        split: "train", "validation" or "test".
        seed: of every draw.
    """
    (x,) = as_batch(dataset, pair, split=split)
    with isolated(pair, seed):
        means = torch.cat([_mean(pair, chunk) for (chunk,) in row_chunks((x,), _ROWS)])
    spread = means.var(0, correction=0)
    order = spread.argsort(descending=True, stable=True).tolist()
    if len(order) > 1:
        first, second = sorted(order[:2])
        points = means[:, [first, second]].cpu()
        axes = (f"z_{first}", f"z_{second}")
        factor = (*dataset.factor_names, "factor")[0]
        yield "latents", plots.latent_scatter(points, _labels(dataset, split), axes, factor)
    if dataset.image_shape is not None:
        shape, limits = image_layout(dataset)
        yield from _images(pair, x, split, shape, limits, seed)
        if pair.prior.support is constraints.real_vector:
            yield from _images_of_means(pair, x, means, shape, limits, seed)


def image_layout(dataset: Dataset) -> tuple[Shape, Limits]:
    """Return the shape of a dataset's images, and the values to be drawn as black and white.

    The shape has channels if there are several; the values are the bounds of the support, or None
    where it has none.
    """
    assert dataset.image_shape is not None
    height, width = dataset.image_shape
    channels = dataset.event_shape.numel() // (height * width)
    low, high = (getattr(dataset.support, name, None) for name in ("lower_bound", "upper_bound"))
    if dataset.support is constraints.boolean:
        low, high = 0, 1
    limits = None if low is None or high is None else (float(low), float(high))
    return (height, width) if channels == 1 else (channels, height, width), limits


def _images(
    pair: VAE, x: Tensor, split: str, shape: Shape, limits: Limits, seed: int
) -> Iterator[tuple[str, Figure]]:
    with isolated(pair, seed):
        rows = {"data": x[:_SHOWN].cpu(), "reconstruction": pair.reconstruct(x[:_SHOWN]).cpu()}
        samples = pair.decode(pair.prior().sample((_GRID,))).mean.cpu()
    title = f"{split} data and the mean of p(x|z) at one draw z of q(z|x)"
    yield "reconstructions", plots.image_rows(rows, shape, title, limits=limits)
    title = "mean of p(x|z) at draws z of the prior"
    yield "samples", plots.image_grid(samples, shape, title, limits=limits)


def _images_of_means(
    pair: VAE, x: Tensor, means: Tensor, shape: Shape, limits: Limits, seed: int
) -> Iterator[tuple[str, Figure]]:
    with isolated(pair, seed):
        scores = torch.cat(
            [
                pair.decode(z).log_prob(chunk)
                for chunk, z in row_chunks((x, means), _ROWS)  # all pixels at once are many
            ]
        )
    if len(x) >= 2 * _SHOWN:
        yield "worst-and-best", _worst_and_best(pair, x, means, scores, shape, limits)
    if len(x) > 1:
        units = diagnostics.active_units(pair, x, seed=seed)
        active = np.flatnonzero(units.active["z"]).tolist()
        if active:
            values = np.linspace(-2.5, 2.5, _STEPS)
            names = [f"z_{index}" for index in active]
            images = _along(pair, means.mean(0), active, values)
            yield "traversals", plots.traversals(images, shape, names, values, limits=limits)
    if means.shape[1] == 2:
        with isolated(pair, seed):
            images = pair.decode(torch.as_tensor(plots.quantile_grid()).to(x)).mean
        yield "manifold", plots.manifold(images.cpu(), shape, limits=limits)


def _mean(pair: VAE, x: Tensor) -> Tensor:
    """Return the posterior's mean, or a mean of draws if the family has no closed form of it."""
    posterior = pair.encode(x)
    try:
        mean: Tensor = posterior.mean
    except NotImplementedError:
        mean = posterior.sample((100,)).mean(0)
    return mean


def _labels(dataset: Dataset, split: str) -> Tensor | None:
    if split in dataset.labels:
        return dataset.labels[split]
    return dataset.factors[split][:, 0] if split in dataset.factors else None


def _worst_and_best(
    pair: VAE, x: Tensor, means: Tensor, scores: Tensor, shape: Shape, limits: Limits
) -> Figure:
    ranked = scores.argsort()
    worst, best = ranked[:_SHOWN], ranked[-_SHOWN:].flip(0)
    with isolated(pair, seed=0):
        rows = {
            "worst": x[worst].cpu(),
            "worst, decoded": pair.decode(means[worst]).mean.cpu(),
            "best": x[best].cpu(),
            "best, decoded": pair.decode(means[best]).mean.cpu(),
        }
    title = (
        f"log p(x|z) at the mean of q(z|x): worst {float(scores[worst[0]]):.1f}, median "
        f"{float(scores.median()):.1f}, best {float(scores[best[0]]):.1f} nats"
    )
    return plots.image_rows(rows, shape, title, limits=limits)


def _along(
    pair: VAE, middle: Tensor, dimensions: list[int], values: NDArray[np.float64]
) -> Tensor:
    """Decode the mean latents with one dimension changed, `(dimensions, steps, pixels)`."""
    z = middle.expand(len(dimensions), len(values), -1).clone()
    for row, dimension in enumerate(dimensions):
        z[row, :, dimension] = torch.as_tensor(values).to(z)
    with isolated(pair, seed=0):
        images: Tensor = pair.decode(z).mean
    return images.cpu()
