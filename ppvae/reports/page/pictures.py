"""Figures and small pictures as data URIs."""

import base64
import io
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ppvae.reports import plots
from ppvae.reports.page.contents import Picture
from ppvae.reports.page.tables import Thumbnail

_HEAVY = 120_000  # bytes of a drawing, above which points are better
_DOTS = 130  # of an inch of a picture
_PIXELS = 96  # of an inch on a page


def picture_of(figure: Figure, caption: str, source: str = "") -> Picture:
    """Return a figure for a page: as a drawing if that is light, else as points.

    Args:
        figure: one of `reports.plots`, which say in words what they show.
        caption: what it means.
        source: which data and run it is of, to be written below it.

    Example:
        >>> figure = plots.pareto_k([0.2], [-90.0], 0.67)
        >>> picture = picture_of(figure, "One row.")
        >>> picture.uri[:18], picture.width, picture.alternative[:8]
        ('data:image/svg+xml', 634, 'Pareto k')
    """
    plots.with_source(figure, source)
    with mpl.rc_context({"svg.hashsalt": "ppvae", "savefig.facecolor": "white"}):
        content, kind = _saved(figure, "svg", metadata={"Date": None}), "svg+xml"
        if len(content) > _HEAVY:
            points = _saved(figure, "png", dpi=_DOTS)
            content, kind = (points, "png") if len(points) < len(content) else (content, kind)
    width, height = (round(_PIXELS * inches) for inches in figure.get_size_inches())
    return Picture(_uri(content, kind), plots.alternative_text(figure), caption, width, height)


def image_thumbnail(pixels: NDArray[Any], alternative: str) -> Thumbnail:
    """Return an image as a small picture.

    Args:
        pixels: shares of white, `(height, width)` or `(height, width, 3)`; NaN is transparent.
        alternative: what it shows.
    """
    from PIL import Image

    known = np.isfinite(pixels)
    levels = np.round(255 * np.clip(np.where(known, pixels, 0), 0, 1)).astype(np.uint8)
    if levels.ndim == 2:
        levels, known = np.repeat(levels[..., None], 3, -1), known[..., None]
    opaque = np.where(known.all(-1, keepdims=True), 255, 0).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.concatenate([levels, opaque], -1)).save(file, "PNG", optimize=True)
    return Thumbnail(_uri(file.getvalue(), "png"), alternative)


def curve_thumbnail(values: NDArray[Any], alternative: str) -> Thumbnail:
    """Return curves as a small picture.

    Args:
        values: `(steps, features)`; NaN is left out.
        alternative: what they show.
    """
    figure = Figure(figsize=(2.2, 0.7))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.plot(values, linewidth=1)
    axes.set_axis_off()
    with mpl.rc_context({"svg.hashsalt": "ppvae"}):
        content = _saved(figure, "svg", metadata={"Date": None}, transparent=False)
    return Thumbnail(_uri(content, "svg+xml"), alternative, wide=True)


def _saved(figure: Figure, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format=kind, **options)
    return file.getvalue()


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
