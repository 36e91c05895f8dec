"""The columns of a table beside those of samples, in the names and units of the user."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data import Dataset
from ppvae.reports import plots

_MOST = 12  # columns in a figure

Values = NDArray[np.generic]


def columns_figure(dataset: Dataset, split: str, samples: Tensor) -> Figure:
    """Draw the known cells of each column beside samples; those that differ most come first.

    Args:
        dataset: a table.
        split: "train", "validation" or "test".
        samples: of the model, `(samples, columns)`.
    """
    pairs = _values(dataset, split, samples)
    distances = {name: _distance(*both) for name, both in pairs.items()}
    order = sorted(pairs, key=lambda name: -distances[name])[:_MOST]
    title = f"Columns of the {split} data (known cells) and of samples of the model"
    if len(pairs) > len(order):
        title += f": the {len(order)} of {len(pairs)} columns that differ most"
    shown = {name: pairs[name] for name in order}
    return plots.column_histograms(shown, [distances[name] for name in order], title)


def _values(dataset: Dataset, split: str, samples: Tensor) -> dict[str, tuple[Values, Values]]:
    """Return data and samples by column, in the user's units and levels."""
    x = getattr(dataset, split).flatten(1).cpu().double().numpy()
    drawn = samples.flatten(1).double().numpy()
    seen = np.ones_like(x, dtype=bool)
    if dataset.seen:
        seen = dataset.seen[split].flatten(1).cpu().numpy() > 0
    features = None if dataset.schema is None else dataset.schema.features
    pairs: dict[str, tuple[Values, Values]] = {}
    for place, name in enumerate(dataset.columns):
        known, made = x[seen[:, place], place], drawn[:, place]
        if features is None:
            pairs[name] = known, made
        else:
            pairs[name] = features[place].decode(known), features[place].decode(made)
    return pairs


def _distance(data: Values, drawn: Values) -> float:
    """Return how far two samples are from each other, between 0 and 1.

    The largest distance of their distribution functions (Kolmogorov and Smirnov), of levels half
    the sum of the differences of their shares.
    """
    if not len(data) or not len(drawn):
        return 0.0
    if data.dtype.kind in "OUSb":
        levels = sorted({*map(str, data.tolist()), *map(str, drawn.tolist())})
        shares = [np.mean(part.astype(str)[:, None] == levels, axis=0) for part in (data, drawn)]
        return float(np.abs(shares[0] - shares[1]).sum() / 2)
    first, second = np.sort(data), np.sort(drawn)
    every = np.concatenate([first, second])
    below = [np.searchsorted(part, every, side="right") / len(part) for part in (first, second)]
    return float(np.abs(below[0] - below[1]).max())
