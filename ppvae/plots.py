"""Figures: functions of arrays that return a matplotlib figure and never show it."""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray


def training_curves(history: xr.Dataset) -> Figure:
    """Draw ELBO, reconstruction and KL over the steps of a training.

    Args:
        history: a `Fit`'s history.

    Raises:
        ValueError: if the history holds no evaluation.

    Example:
        >>> steps = {"step": [1, 2]}
        >>> elbo = xr.Dataset({"train_elbo": ("step", [-2.0, -1.0])}, coords=steps)
        >>> len(training_curves(elbo).axes)
        3
    """
    if not history.sizes.get("step"):
        raise ValueError("history holds no evaluation to draw")
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    panels = (
        ("elbo", "ELBO"),
        ("reconstruction", "reconstruction  E[log p(x|z)]"),
        ("kl", "KL[q(z|x) || p(z)]"),
    )
    for axes, (name, title) in zip(figure.subplots(1, 3), panels, strict=True):
        for split, style in (("train", "--"), ("validation", "-")):
            if f"{split}_{name}" in history:
                values = history[f"{split}_{name}"]
                axes.plot(values.step, values, style, color="black", label=split, linewidth=1.2)
        axes.set_title(title)
        axes.set_xlabel("step")
        _focus(axes)
        if axes.lines:
            axes.legend(frameon=False)
    figure.axes[0].set_ylabel("nats per datapoint")
    return figure


def kl_bars(kl: xr.DataArray) -> Figure:
    """Draw the KL of each latent dimension as bars, the largest first.

    Args:
        kl: what `diagnostics.kl_per_dimension` returned.

    Example:
        >>> len(kl_bars(xr.DataArray([0.1, 2.0], dims="z_dim_0")).axes[0].patches)
        2
    """
    values = np.asarray(kl).reshape(-1)
    order = np.argsort(values)[::-1]
    figure = Figure(figsize=(max(4.0, 0.3 * len(values) + 1.5), 3.2), layout="constrained")
    axes = figure.subplots()
    axes.bar(range(len(values)), values[order], color="0.4", width=0.8)
    axes.set_xticks(range(len(values)), [str(index) for index in order])
    axes.tick_params(axis="x", labelsize=9 if len(values) <= 30 else 5)
    axes.set_xlabel("latent dimension")
    axes.set_ylabel("nats per datapoint")
    axes.set_title(f"KL of each latent dimension, {values.sum():.1f} nats in all")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def image_rows(rows: Mapping[str, ArrayLike], image_shape: tuple[int, int], title: str) -> Figure:
    """Draw images in labelled rows, one below the other, dark on light.

    Args:
        rows: images `(images, height * width)` by label, the same number in each.
        image_shape: height and width.
        title: what the figure shows.

    Raises:
        ValueError: if there are no rows, or their numbers of images differ.

    Example:
        >>> figure = image_rows({"data": np.zeros((3, 4))}, (2, 2), "three images")
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['data']
    """
    images = {label: _images(values, image_shape) for label, values in rows.items()}
    counts = {len(values) for values in images.values()}
    if len(counts) != 1:
        raise ValueError(f"image_rows needs rows of one length, got {sorted(counts)}")
    return _mosaic(np.stack(list(images.values())), title, labels=list(images))


def image_grid(values: ArrayLike, image_shape: tuple[int, int], title: str) -> Figure:
    """Draw images in a grid as near to square as their number allows, dark on light.

    Args:
        values: images `(images, height * width)`.
        image_shape: height and width.
        title: what the figure shows.

    Example:
        >>> len(image_grid(np.zeros((6, 4)), (2, 2), "six images").axes)
        1
    """
    images = _images(values, image_shape)
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    padded = np.full((rows * columns, *image_shape), np.nan)
    padded[: len(images)] = images
    return _mosaic(padded.reshape(rows, columns, *image_shape), title)


def latent_scatter(
    latents: ArrayLike, labels: ArrayLike | None = None, names: tuple[str, str] = ("z_0", "z_1")
) -> Figure:
    """Draw datapoints where the guide puts them in two latent dimensions, coloured by label.

    Args:
        latents: posterior means `(data, 2)`.
        labels: the class of each datapoint, or a number such as a known factor; each class is
            also written where its median is.
        names: what the two dimensions are called.

    Raises:
        ValueError: if there are not two dimensions.

    Example:
        >>> len(latent_scatter(np.zeros((5, 2)), labels=np.arange(5)).axes[0].texts)
        5
    """
    points = np.asarray(latents)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"latent_scatter needs latents of shape (data, 2), got {points.shape}")
    figure = Figure(figsize=(5.6, 5), layout="constrained")
    axes = figure.subplots()
    values = None if labels is None else np.asarray(labels)
    classes = [] if values is None or values.dtype.kind == "f" else list(np.unique(values))
    look: dict[str, Any] = {"color": "0.3"}
    if values is not None:
        look = {"c": values, "cmap": "viridis"}
    size = min(12.0, 6000 / len(points))
    drawn = axes.scatter(points[:, 0], points[:, 1], s=size, linewidths=0, **look)
    for name in classes if len(classes) <= 30 else []:
        x, y = np.median(points[values == name], axis=0)
        text = axes.text(x, y, str(name), ha="center", va="center", fontweight="bold")
        text.set_path_effects([withStroke(linewidth=3, foreground="white")])
    if values is not None and not classes:
        figure.colorbar(drawn, ax=axes, label="factor")
    axes.set_xlabel(f"mean of {names[0]} under q(z|x)")
    axes.set_ylabel(f"mean of {names[1]} under q(z|x)")
    axes.set_title("datapoints in latent space" + (", by label" if classes else ""))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def quantile_grid(side: int = 20) -> NDArray[np.float64]:
    """Return the points of a square grid on the quantiles of the normal, row by row from the top.

    Args:
        side: number of points along each axis.

    Returns:
        `(side * side, 2)`: the two coordinates of each point, the second falling down the rows.

    Example:
        >>> quantile_grid(3)[4].tolist()
        [0.0, 0.0]
    """
    normal = NormalDist()
    quantiles = np.array([normal.inv_cdf((index + 0.5) / side) for index in range(side)])
    first, second = np.meshgrid(quantiles, quantiles[::-1])
    return np.stack([first.ravel(), second.ravel()], axis=1)


def manifold(images: ArrayLike, image_shape: tuple[int, int]) -> Figure:
    """Draw what a two-dimensional latent space decodes to, side by side, dark on light.

    Args:
        images: the decoded points of `quantile_grid`, `(side * side, height * width)`.
        image_shape: height and width.

    Raises:
        ValueError: if the number of images is no square.

    Example:
        >>> len(manifold(np.zeros((400, 4)), (2, 2)).axes)
        1
    """
    tiles = _images(images, image_shape)
    side = math.isqrt(len(tiles))
    if side * side != len(tiles):
        raise ValueError(f"manifold needs a square number of images, got {len(tiles)}")
    height, width = image_shape
    square = tiles.reshape(side, side, height, width).swapaxes(1, 2)
    figure = Figure(figsize=(7, 7), layout="constrained")
    axes = figure.subplots()
    axes.imshow(square.reshape(side * height, side * width), cmap="gray_r")
    quantiles = quantile_grid(side)[:side, 0]
    ticks = min(side, 5 if side % 2 else 4)  # as many as stand at opposite quantiles
    shown = np.unique(np.linspace(0, side - 1, ticks).round().astype(int))
    texts = [f"{quantiles[index]:.2f}" for index in shown]
    axes.set_xticks((shown + 0.5) * width, texts)
    axes.set_yticks((side - shown - 0.5) * height, texts)
    axes.set_xlabel("z_0, on the quantiles of the normal")
    axes.set_ylabel("z_1")
    axes.set_title("mean of p(x|z) over the latent space")
    return figure


def traversals(
    images: ArrayLike, image_shape: tuple[int, int], names: Sequence[str], values: ArrayLike
) -> Figure:
    """Draw how the decoded image changes along each latent dimension, one a row.

    Args:
        images: decoded images `(dimensions, steps, height * width)`.
        image_shape: height and width.
        names: what each dimension is called.
        values: the latent's values, `(steps,)`.

    Raises:
        ValueError: if names or values do not fit the images.

    Example:
        >>> figure = traversals(np.zeros((2, 3, 4)), (2, 2), ["z_0", "z_1"], [-2, 0, 2])
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['z_0', 'z_1']
    """
    rows, steps = np.asarray(images), np.asarray(values)
    if rows.ndim != 3 or rows.shape[:2] != (len(names), len(steps)):
        raise ValueError(
            f"traversals needs images of shape ({len(names)}, {len(steps)}, pixels), got "
            f"{rows.shape}"
        )
    title = f"mean of p(x|z) as one latent moves from {steps[0]:g} to {steps[-1]:g}"
    return image_rows(dict(zip(names, rows, strict=True)), image_shape, title)


def pareto_k(k: ArrayLike, threshold: float) -> Figure:
    """Draw the Pareto shape k of each datapoint's importance weights, with its thresholds.

    Args:
        k: estimates of k, `(data,)`; -inf, of constant weights, is drawn at the bottom.
        threshold: above it the draws are too few for a trustworthy log P(X); above 1 their
            number does not help.

    Example:
        >>> len(pareto_k([0.2, 0.8, -np.inf], 0.67).axes[0].lines)
        3
    """
    values = np.asarray(k, dtype=float)
    finite = values[np.isfinite(values)]
    bottom = min(0.0, float(finite.min()) if finite.size else 0.0) - 0.1
    shown = np.where(np.isfinite(values), values, bottom)
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    size = min(14.0, max(2.0, 4000 / max(len(shown), 1)))
    axes.scatter(range(len(shown)), shown, s=size, color="0.25", linewidths=0)
    for level, style, text in (
        (0.5, ":", "0.5: good below"),
        (threshold, "--", f"{threshold:.2f}: usable below"),
        (1.0, "-", "1: more draws do not help above"),
    ):
        axes.axhline(level, linestyle=style, color="black", linewidth=1, label=text)
    axes.set_xlabel("datapoint")
    axes.set_ylabel("Pareto k")
    above = int((values > threshold).sum())
    axes.set_title(f"importance weights: k above {threshold:.2f} for {above} of {len(values)}")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def rank_ecdf(ranks: xr.Dataset, band: xr.Dataset) -> Figure:
    """Draw how far the distribution functions of ranks lie from the uniform one, with a band.

    Args:
        ranks: `ranks` of `diagnostics.sbc` or `pit`: its variables, with a first dim that is
            ranked over, and -1 for what is missing; those that leave the band get a label.
        band: what `diagnostics.uniform_band` returned for as many ranks.

    Example:
        >>> from ppvae.diagnostics import uniform_band
        >>> ranks = xr.Dataset({"z": (("simulation", "z_dim_0"), np.zeros((50, 2), int))})
        >>> len(rank_ecdf(ranks, uniform_band(50, draws=9)).axes[0].get_legend().get_texts())
        3
    """
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    expected, cuts = band.expected.values, band.cut.values
    x = [0, *expected, 1]
    low, high = ([0, *(edge - expected), 0] for edge in (band.lower.values, band.upper.values))
    inside = f"band of {band.attrs['probability']:.3g} for each"
    axes.fill_between(x, low, high, color="0.85", linewidth=0, label=inside)
    outside = 0
    for name, array in ranks.items():
        columns = array.values.reshape(len(array), -1).T
        for index, column in zip(np.ndindex(array.shape[1:]), columns, strict=True):
            present = np.sort(column[column >= 0])
            share = np.searchsorted(present, cuts) / max(len(present), 1)
            out = bool(((share < band.lower - 1e-9) | (share > band.upper + 1e-9)).any())
            look: dict[str, Any] = {"color": "0.45", "linewidth": 0.7}
            if out:
                label = f"{name}{list(index) if index else ''}" if outside < 8 else None
                look = {"color": f"C{outside % 8}", "linewidth": 1.2, "label": label}
                look["linestyle"] = ("-", "--", "-.", ":")[outside % 4]
            outside += out
            axes.plot(x, [0, *(share - expected), 0], **look)
    axes.set_xlabel("rank, as a share of the draws")
    axes.set_ylabel("share of ranks below - expected")
    quantities = sum(array[0].size for array in ranks.values())
    axes.set_title(f"{outside} of {quantities} quantities leave the band of uniform ranks")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def evidence_bars(summary: xr.Dataset) -> Figure:
    """Draw both sides of formula (2) as stacked bars that end at the same ELBO.

    Args:
        summary: what `diagnostics.summarize` returned.

    Example:
        >>> terms = ["reconstruction", "kl", "elbo", "log_evidence", "posterior_kl"]
        >>> mean = xr.Dataset({"mean": ("term", [-8.0, 2.0, -10.0, -9.0, 1.0])}, {"term": terms})
        >>> len(evidence_bars(mean).axes[0].patches)
        4
    """
    mean = {str(term): float(summary["mean"].sel(term=term)) for term in summary.term.values}
    sides = (
        ("log_evidence", "log P(X)", "posterior_kl", "KL[Q(z|X) || P(z|X)]"),
        ("reconstruction", "E_Q[log P(X|z)]", "kl", "KL[Q(z|X) || P(z)]"),
    )
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    for row, (first, first_name, second, second_name) in enumerate(reversed(sides)):
        begin = mean[first]
        axes.barh(row, begin, 0.4, color="0.8", edgecolor="black", linewidth=0.8)
        look: dict[str, Any] = {
            "color": "0.6",
            "edgecolor": "black",
            "linewidth": 0.8,
            "hatch": "//",
        }
        axes.barh(row, -mean[second], 0.4, begin, **look)
        text = f"{first_name} = {begin:.2f}, minus {second_name} = {mean[second]:.2f}"
        axes.text(0, row + 0.26, text, ha="right" if mean["elbo"] < 0 else "left", va="bottom")
    axes.axvline(mean["elbo"], color="black", linestyle="--", linewidth=1)
    axes.set_yticks([0, 1], ["right side", "left side"])
    axes.set_ylim(-0.4, 1.6)
    low, high = min(mean["elbo"], 0.0), max(mean["log_evidence"], mean["reconstruction"], 0.0)
    margin = 0.03 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    axes.set_xlabel("nats per datapoint")
    axes.set_title(f"formula (2): both sides end at the ELBO, {mean['elbo']:.2f}")
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


def _images(values: ArrayLike, image_shape: tuple[int, int]) -> NDArray[Any]:
    return np.asarray(values).reshape(-1, *image_shape)


def _mosaic(images: NDArray[Any], title: str, labels: Sequence[str] = ()) -> Figure:
    """Draw images `(rows, columns, height, width)` as one, with gaps between; NaN stays empty."""
    rows, columns, height, width = images.shape
    gap = max(1, round(0.1 * max(height, width)))
    canvas = np.full((rows, height + gap, columns, width + gap), np.nan)
    canvas[:, :height, :, :width] = images.swapaxes(1, 2)
    canvas = canvas.reshape(rows * (height + gap), columns * (width + gap))[:-gap, :-gap]
    size = (0.62 * columns + (1.3 if labels else 0.3), 0.62 * rows + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.imshow(canvas, cmap="gray_r")
    axes.set_xticks([])
    centres = (np.arange(len(labels)) + 0.5) * (height + gap) - (gap + 1) / 2
    axes.set_yticks(centres, labels)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.suptitle(title, fontsize="medium")
    return figure


def _focus(axes: Axes) -> None:
    """Leave the first steep rise out of view where it would flatten all that follows."""
    curves = [np.asarray(line.get_ydata()) for line in axes.lines]
    tails = [curve[len(curve) // 20 :] for curve in curves]
    if tails:
        low, high = min(tail.min() for tail in tails), max(tail.max() for tail in tails)
        margin = 0.05 * (high - low) or 1.0
        axes.set_ylim(low - margin, high + margin)
    axes.spines[["top", "right"]].set_visible(False)
