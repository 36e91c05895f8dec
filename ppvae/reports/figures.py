"""The figures of a fitted VAE on a dataset: images or columns that it makes, its latent space."""

from collections.abc import Iterator

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import constraints

from ppvae import diagnostics
from ppvae.data import Dataset
from ppvae.engine import Batch, as_batch, isolated, row_chunks
from ppvae.pairs import VAE
from ppvae.reports import plots
from ppvae.reports.columns import columns_figure
from ppvae.reports.given import (
    Given,
    given_of,
    known_only,
    name_of,
    prior_moments,
    sampled_mean,
    sampled_rows,
    setting_of,
)
from ppvae.reports.plots.images import Limits, Shape

_SHOWN = 12  # images in a row
_GRID = 64  # images in a grid
_STEPS = 11  # images along a traversal
_SAMPLES = 2000  # rows of tables that are drawn at least
_ROWS = 1000  # datapoints that are decoded together


def gallery(
    pair: VAE, dataset: Dataset, split: str, *, seed: int = 0
) -> Iterator[tuple[str, Figure]]:
    """Yield the figures that fit the dataset and the number of latents, each with its name.

    With two latents or more: a scatter of the posterior means in the two that vary most, colored
    by label if there are labels. For images: reconstructions, the worst and the best of them,
    samples, a traversal of each active latent, and with two latents the manifold. For tables:
    each column of the data beside that of samples. For latents that do not fill R^d, such as
    those on a sphere, there are reconstructions and samples only: a posterior mean, or a step
    along an axis, lies outside their space.

    A pair that is given conditions gets those of the datapoints. Where they are classes, samples
    are drawn by class, and traversals and the manifold are those of the most frequent one.

    Args:
        pair: the pair.
        dataset: the data.
        split: "train", "validation" or "test".
        seed: of every draw.
    """
    batch = as_batch(dataset, pair, split=split)
    with isolated(pair, seed):
        means = torch.cat([_mean(pair, chunk) for chunk in row_chunks(batch, _ROWS)])
    spread = means.var(0, correction=0)
    order = spread.argsort(descending=True, stable=True).tolist()
    if len(order) > 1:
        first, second = sorted(order[:2])
        points = means[:, [first, second]].cpu()
        axes = (f"z_{first}", f"z_{second}")
        factor = (*dataset.factor_names, "factor")[0]
        labels, names = _labels(dataset, split), dataset.label_names
        yield "latents", plots.latent_scatter(points, labels, axes, factor, names)
    if dataset.image_shape is not None:
        shape, limits = image_layout(dataset)
        given = given_of(dataset, batch)
        yield from _images(pair, dataset, batch, given, split, shape, limits, seed)
        if pair.prior.support is constraints.real_vector:
            yield from _images_of_means(
                pair, dataset, batch, means, given, split, shape, limits, seed
            )
    elif len(dataset.columns) == dataset.event_shape.numel() > 0:
        # As many as there are datapoints would be few for a histogram.
        places = torch.arange(max(_SAMPLES, len(means))) % len(means)
        rows = tuple(part[places.to(part.device)] for part in batch)
        with isolated(pair, seed):
            samples = torch.cat([sampled_rows(pair, chunk) for chunk in row_chunks(rows, _ROWS)])
        yield "columns", columns_figure(dataset, split, samples.cpu())


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
    pair: VAE,
    dataset: Dataset,
    batch: Batch,
    given: Given | None,
    split: str,
    shape: Shape,
    limits: Limits,
    seed: int,
) -> Iterator[tuple[str, Figure]]:
    shown = tuple(part[:_SHOWN] for part in batch)
    many = tuple(part[torch.arange(_GRID) % len(part)] for part in batch)
    with isolated(pair, seed):
        rows = {
            "data": known_only(dataset, shown).cpu(),
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
    title = f"{split} data and the mean of p(x|z) at one draw z of q(z|x)"
    yield "reconstructions", plots.image_rows(rows, shape, title, limits=limits)
    title = "mean of p(x|z) at draws z of the prior"
    if given is None:
        yield "samples", plots.image_grid(samples, shape, title, limits=limits)
    else:
        title = "mean of p(x|z, y) at draws z of the prior, by class y"
        yield "samples", plots.image_rows(by_class, shape, title, limits=limits)


def _images_of_means(
    pair: VAE,
    dataset: Dataset,
    batch: Batch,
    means: Tensor,
    given: Given | None,
    split: str,
    shape: Shape,
    limits: Limits,
    seed: int,
) -> Iterator[tuple[str, Figure]]:
    x, *others = batch
    with isolated(pair, seed):
        scores = torch.cat(
            [
                pair.decode(z, *conditions).log_prob(chunk)
                for chunk, z, *conditions in row_chunks((x, means, *others), _ROWS)
            ]  # all pixels at once are many
        )
    if len(x) >= 2 * _SHOWN:
        yield (
            "worst-and-best",
            _worst_and_best(pair, dataset, batch, means, scores, split, shape, limits),
        )
    fixed, note = setting_of(dataset, batch, given, split)
    middle, scale = (
        prior_moments(pair, fixed) if fixed else (means.mean(0), torch.ones_like(means[0]))
    )
    if len(x) > 1:
        units = diagnostics.active_units(pair, batch, seed=seed)
        active = np.flatnonzero(units.active["z"]).tolist()
        if active:
            values = np.linspace(-2.5, 2.5, _STEPS)
            names = [f"z_{index}" for index in active]
            images = _along(pair, middle, scale, active, values, fixed)
            yield (
                "traversals",
                plots.traversals(images, shape, names, values, limits=limits, note=note),
            )
    if means.shape[1] == 2:
        grid = torch.as_tensor(plots.quantile_grid()).to(x)
        with isolated(pair, seed):
            images = _decoded(pair, middle + scale * grid if fixed else grid, fixed)
        yield "manifold", plots.manifold(images.cpu(), shape, limits=limits, note=note)


def _mean(pair: VAE, batch: Batch) -> Tensor:
    """Return the posterior's mean, or a mean of draws if the family has no closed form of it."""
    posterior = pair.encode(*batch)
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
    pair: VAE,
    dataset: Dataset,
    batch: Batch,
    means: Tensor,
    scores: Tensor,
    split: str,
    shape: Shape,
    limits: Limits,
) -> Figure:
    ranked = scores.argsort()
    worst, best = ranked[:_SHOWN], ranked[-_SHOWN:].flip(0)
    rows, texts = {}, {}
    with isolated(pair, seed=0):
        for name, chosen in (("worst", worst), ("best", best)):
            z, *part = (tensor[chosen] for tensor in (means, *batch))
            rows[name] = known_only(dataset, tuple(part)).cpu()
            rows[f"{name}, decoded"] = pair.decode(z, *part[1:]).mean.cpu()
            texts[name] = [name_of(dataset, split, place) for place in chosen.tolist()]
    title = (
        f"log p(x|z) at the mean of q(z|x): worst {float(scores[worst[0]]):.1f}, median "
        f"{float(scores.median()):.1f}, best {float(scores[best[0]]):.1f} nats"
    )
    return plots.image_rows(rows, shape, title, limits=limits, texts=texts)


def _along(
    pair: VAE,
    middle: Tensor,
    scale: Tensor,
    dimensions: list[int],
    values: NDArray[np.float64],
    fixed: list[Tensor],
) -> Tensor:
    """Decode a latent with one dimension changed, `(dimensions, steps, pixels)`."""
    z = middle.expand(len(dimensions), len(values), -1).clone()
    shifted = bool(fixed)
    for row, dimension in enumerate(dimensions):
        steps = torch.as_tensor(values).to(z)
        z[row, :, dimension] = middle[dimension] + scale[dimension] * steps if shifted else steps
    with isolated(pair, seed=0):
        images = _decoded(pair, z.flatten(0, 1), fixed) if fixed else pair.decode(z).mean
    return images.reshape(len(dimensions), len(values), -1).cpu()


def _decoded(pair: VAE, z: Tensor, fixed: list[Tensor]) -> Tensor:
    mean: Tensor = pair.decode(z, *(part.expand(len(z), *part.shape[1:]) for part in fixed)).mean
    return mean
