"""Single rows as a reader knows them: a picture, a curve, or the values of all columns."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data import Dataset
from ppvae.engine import isolated
from ppvae.pairs import VAE
from ppvae.reports.page.pictures import curve_thumbnail, image_thumbnail
from ppvae.reports.page.refusals import reason_of
from ppvae.reports.page.subject import Subject
from ppvae.reports.page.tables import Cell, Table, Thumbnail
from ppvae.reports.page.unusual import column_names, texts_of
from ppvae.reports.pictures import image_look
from ppvae.reports.series import series_shape

_MOST = 40  # columns whose values are shown


def values_of(
    dataset: Dataset, split: str, places: Sequence[int]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return rows, `(rows, features)`, and which of their cells are known."""
    rows = list(places)
    x = getattr(dataset, split)[rows].flatten(1).cpu().double().numpy()
    if not dataset.seen:
        return x, np.ones_like(x, dtype=bool)
    return x, dataset.seen[split][rows].flatten(1).cpu().numpy() > 0


def values_table(
    dataset: Dataset, split: str, places: Sequence[int], names: Sequence[str]
) -> Table | None:
    """Return what rows hold, in the units of the user; None where there are too many columns."""
    columns = column_names(dataset)
    if len(columns) > _MOST:
        return None
    x, known = values_of(dataset, split, places)
    texts = [texts_of(dataset, x, place) for place in range(len(columns))]
    rows = tuple(
        (
            Cell(names[row]),
            *(
                _cell(texts[place][row], float(x[row, place])) if known[row, place] else Cell("-")
                for place in range(len(columns))
            ),
        )
        for row in range(len(x))
    )
    note = "" if known.all() else "A cell with - is missing; it is left out of log P(X)."
    return Table("What these rows hold, in the units of the data", ("row", *columns), rows, note)


def _cell(text: str, value: float) -> Cell:
    try:
        float(text.replace("\N{MINUS SIGN}", "-"))
    except ValueError:
        return Cell(text)
    return Cell(text, value)


def thumbnails_of(
    subject: Subject, places: Sequence[int], names: Sequence[str]
) -> list[tuple[Thumbnail, ...]] | None:
    """Return small pictures of rows and of their reconstructions; None if rows have no look."""
    dataset = subject.dataset
    if dataset is None or not len(places):
        return None
    x, known = values_of(dataset, subject.split, places)
    kinds = {"row": np.where(known, x, np.nan)}
    if dataset.image_shape is not None:
        made = _reconstructed(subject, places)
        if made is not None:
            kinds["reconstruction of row"] = made.flatten(1).cpu().double().numpy()
        drawn = {what: _pixels(dataset, values) for what, values in kinds.items()}
        draw: Callable[[NDArray[Any], str], Thumbnail] = image_thumbnail
    elif (shape := series_shape(dataset)) is not None:
        drawn = {what: values.reshape(-1, *shape) for what, values in kinds.items()}
        draw = curve_thumbnail
    else:
        return None
    return [
        tuple(draw(values[place], f"{what} {name}") for what, values in drawn.items())
        for place, name in enumerate(names)
    ]


def _pixels(dataset: Dataset, values: NDArray[Any]) -> NDArray[Any]:
    """Return images as shares of white, `(images, height, width)` or with colours as last dim."""
    look = image_look(dataset)
    known = values[np.isfinite(values)]
    low, high = look.limits or (float(known.min(initial=0)), float(known.max(initial=1)))
    shares = (values - low) / ((high - low) or 1.0)
    shares = 1 - shares if look.inverted else shares
    images = shares.reshape(len(values), -1, *look.shape[-2:])
    return images[:, 0] if images.shape[1] == 1 else np.moveaxis(images, 1, -1)


def _reconstructed(subject: Subject, places: Sequence[int]) -> Tensor | None:
    """Return the mean of p(x|z) at a draw of q(z|x) of each row, where that can be had."""
    if not isinstance(subject.pair, VAE):
        return None
    rows = tuple(part[list(places)] for part in subject.batch)
    try:
        with isolated(subject.pair, subject.seed), torch.no_grad():
            return subject.pair.reconstruct(*rows)
    except Exception as error:
        reason_of(error)
        return None
