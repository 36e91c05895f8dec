"""The figures of a VAE of series."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data import Dataset
from ppvae.engine import Batch, isolated
from ppvae.reports import plots
from ppvae.reports.given import known_only, prior_draws
from ppvae.reports.subject import MOVED_BY, Subject

_SHOWN = 9  # series in a figure
_DRAWS = 200  # of the model for each of them
_MOVED = 6  # latents that a traversal moves
_STEPS = np.linspace(-2, 2, 5)
_HELD = 0.9  # the share of draws that the interval holds

_Values = NDArray[np.float64]


def series_shape(dataset: Dataset) -> tuple[int, int] | None:
    """Return steps and features of the datapoints if they are series, or vectors without columns.

    Of the features of a vector nothing is known but their order.
    """
    if dataset.series_shape is not None or dataset.image_shape is not None or dataset.columns:
        return dataset.series_shape
    event = dataset.event_shape
    if len(event) == 2:
        return event[0], event[1]
    return (event[0], 1) if len(event) == 1 and event[0] > 1 else None


def series_figures(subject: Subject, shape: tuple[int, int]) -> Iterator[tuple[str, Figure]]:
    """Yield series of the data with what the pair makes of them, and series drawn from it."""
    pair, dataset = subject.pair, subject.dataset
    batch = tuple(part[:_SHOWN] for part in subject.batch)
    with isolated(pair, subject.seed):
        guessed = _draws(pair.encode(*batch).sample((_DRAWS,)), subject, batch, shape)
        z = prior_draws(pair, batch)
        new = _draws(z.expand(_DRAWS, *z.shape), subject, batch, shape)
    x = _steps(known_only(dataset, batch), shape)
    if dataset.conditions and batch[1].dim() == 1:  # the lengths of series with a latent a step
        ended = np.arange(shape[0]) >= batch[1].cpu().numpy()[:, None]
        x[ended] = new[:, ended] = np.nan
    step = "step" if dataset.series_shape or len(dataset.event_shape) == 2 else "feature"
    ending = " [0]"
    features = [
        name.removesuffix(ending) for name in dataset.columns[: shape[1]] if name.endswith(ending)
    ]
    held = f"{_HELD:.0%} of draws x of p(x|z)"
    low, middle, high = _interval(guessed)
    # A series that is shorter than the longest one ends there.
    known = np.asarray(np.isfinite(x).any(-1))
    after = known[:, ::-1].cumsum(1)[:, ::-1] == 0
    for part in (low, middle, high):
        part[after] = np.nan
    yield (
        "reconstructions",
        plots.series_panels(
            x,
            [f"row {subject.name(place)}" for place in range(len(x))],
            f"{subject.split.capitalize()} data and their reconstructions: draws x of "
            "p(x|z) at draws z of q(z|x)",
            center=middle, band=(low, high), features=features, x=step,
            legend=("data", "median of draws", held),
        ),
    )  # fmt: skip
    low, middle, high = _interval(new)
    yield (
        "samples",
        plots.series_panels(
            new[0],
            [f"sample {number}" for number in range(1, len(x) + 1)],
            "New data: draws x of p(x|z) at draws z of the prior",
            center=middle, band=(low, high), features=features, x=step,
            legend=("a draw x", "median of draws at the same z", held),
        ),
    )  # fmt: skip
    moved, which = subject.active(_MOVED) if subject.fills_space else ([], "")
    if moved:
        lines = _steps(subject.traversed(moved, _STEPS), shape).reshape(len(moved), -1, *shape)
        names = [f"z_{latent}" for latent in moved]
        note = subject.setting[1] + which
        figure = plots.series_traversals(
            lines, names, _STEPS, features=features, note=note, unit=MOVED_BY, x=step
        )
        yield "traversals", figure


def _draws(z: Tensor, subject: Subject, batch: Batch, shape: tuple[int, int]) -> _Values:
    """Return draws of p(x|z) at latents `(draws, series, *)`: `(draws, series, *shape)`."""
    given = [part.expand(len(z), *part.shape).reshape(-1, *part.shape[1:]) for part in batch[1:]]
    drawn: Tensor = subject.pair.decode(z.reshape(-1, *z.shape[2:]), *given).sample()
    return _steps(drawn, shape).reshape(len(z), -1, *shape)


def _steps(x: Tensor, shape: tuple[int, int]) -> _Values:
    values: _Values = x.cpu().double().numpy()
    return values.reshape(-1, *shape)


def _interval(draws: _Values) -> tuple[_Values, _Values, _Values]:
    """Return the lower end, the median and the upper end of draws, each over the first dim."""
    beyond = (1 - _HELD) / 2
    low, middle, high = np.quantile(draws, [beyond, 0.5, 1 - beyond], axis=0)
    return low, middle, high
