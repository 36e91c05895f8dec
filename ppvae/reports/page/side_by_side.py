"""Figures of several runs side by side."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ppvae.reports.page.contents import Section, Text
from ppvae.reports.page.pictures import picture_of
from ppvae.reports.page.subject import Subject
from ppvae.reports.plots.sheets import SMALL, plain, sheet
from ppvae.reports.plots.styles import line_style

_NAME = 33  # characters of a run in a figure


def differences_figure(found: xr.Dataset, order: Sequence[int]) -> Figure:
    """Draw the differences of log P(X) to the best run, with two standard errors.

    Args:
        found: what `diagnostics.compare` returned.
        order: the places of the runs, the best first.
    """
    names = [_short(str(found.model.values[place])) for place in order]
    each = [found.isel(model=place) for place in order]
    values = [float(run.difference) for run in each]
    errors = [float(run.difference_data_error) for run in each]
    texts = [f"{name} {value:.2f}" for name, value in zip(names, values, strict=True)]
    title = f"Differences of log P(X) to the best run, {names[0]}"
    figure = sheet(0.7 + 0.34 * len(order), title, f"{', '.join(texts)} nats per row")
    axes = figure.subplots()
    plain(axes, x="nats per row")
    rows = range(0, -len(order), -1)
    bars = 2 * np.nan_to_num(np.abs(errors))
    axes.errorbar(values, list(rows), xerr=bars, fmt="o", color="#0072B2", capsize=3)
    axes.axvline(0, color="0.4", linewidth=0.8, linestyle="--")
    axes.set_yticks(list(rows), names, parse_math=False)
    axes.set_ylim(0.6 - len(order), 0.6)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def trainings_section(subjects: Mapping[str, Subject]) -> Section:
    """Return the validation ELBO of each run over the steps of its training."""
    known = {
        name: subject.history.validation_elbo.dropna("step")
        for name, subject in subjects.items()
        if subject.history is not None and "validation_elbo" in subject.history
    }
    curves = {_short(name): curve for name, curve in known.items() if curve.size}
    if not curves:
        text = "None of the runs has evaluations of its training."
        return Section("training", "Training", [Text(text)])
    best = ", ".join(f"{name} reaches {float(c.max()):.2f}" for name, c in curves.items())
    figure = sheet(3.2, "The validation ELBO of each training, by step", best)
    axes = figure.subplots()
    plain(axes, x="step", y="nats per row")
    for index, (name, curve) in enumerate(curves.items()):
        axes.plot(curve.step, curve, **line_style(index), linewidth=1.3, label=f"\u200b{name}")
    low = min(float(curve.quantile(0.05)) for curve in curves.values())
    high = max(float(curve.max()) for curve in curves.values())
    margin = 0.05 * (high - low or 1.0)
    axes.set_ylim(low - margin, high + margin)
    legend = axes.legend(frameon=False, loc="lower right", fontsize=SMALL)
    for label in legend.get_texts():
        label.set_parse_math(False)
    caption = "The validation ELBO of each run. The first steep rise is cut off."
    return Section("training", "Training", [picture_of(figure, caption)])


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"...{name[3 - _NAME :]}"
