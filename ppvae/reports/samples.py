"""Datapoints drawn from the model of a run, as its files and figures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ppvae import answers
from ppvae.data import Dataset, given_classes
from ppvae.inference.persistence import atomic_write
from ppvae.reports import plots
from ppvae.reports.pictures import image_look
from ppvae.reports.run_folder import Run

_GRID = 64  # images in a grid
_ROW = 12  # images of a class


def write_samples(
    run: Run,
    pair: nn.Module,
    dataset: Dataset,
    count: int,
    seed: int,
    label: str | int | None = None,
) -> Iterator[Path]:
    """Draw datapoints from the model; write them, and a figure of images; yield the files.

    Samples are given in the units of the data: of a table as `samples.csv`, of other data as
    `samples.npy`, with the classes in `samples-labels.npy` if the pair is given them.

    Args:
        run: where to write.
        pair: the trained pair.
        dataset: the data.
        count: number of datapoints.
        seed: of the draws.
        label: the class of all datapoints, of a pair that is given the class.

    Raises:
        ValueError: if `count` is less than 1, or there is no such class.
        Unsupported: if the pair has not exactly one observed site, or is not given the class.
    """
    if dataset.schema is not None:
        table = answers.sample(pair, dataset, count, label=label, seed=seed)
        path = run.folder / "samples.csv"
        answers.write_table(table, path)
        yield path
        return
    drawn, classes = answers.draw_rows(pair, dataset, count, label=label, seed=seed)
    if (by := run.standardization) is not None:
        drawn = by.invert(drawn)
    yield _written(run.folder / "samples.npy", drawn)
    if classes is not None:
        yield _written(run.folder / "samples-labels.npy", classes)
    if dataset.image_shape is not None:
        title = "New images: draws x of p(x|z) at draws z of the prior"
        look = image_look(dataset)
        options: dict[str, Any] = {"limits": look.limits, "inverted": look.inverted}
        if classes is None or label is not None:
            of_class = "" if label is None else f" of class {label}"
            figure = plots.image_grid(drawn[:_GRID], look.shape, title + of_class, **options)
        else:
            figure = plots.image_rows(
                _by_class(pair, dataset, seed), look.shape, f"{title}, by class", **options
            )
        yield run.figure("draws", plots.with_source(figure, f"{dataset.name}, {run.name}"))


def write_interpolation(run: Run, table: Any, dataset: Dataset) -> Iterator[Path]:
    """Draw the images of a table of `answers.interpolate`; yield the file, if they are images."""
    if dataset.image_shape is None:
        return
    columns = table.columns[-dataset.event_shape.numel() :]
    images = torch.from_numpy(np.ascontiguousarray(table[columns].to_numpy(np.float32)))
    look = image_look(dataset)
    figure = plots.image_rows(
        {"": images},
        look.shape,
        "Mean of p(x|z) on the line between the posterior means of two rows",
        limits=look.limits,
        inverted=look.inverted,
    )
    yield run.figure("interpolation", plots.with_source(figure, f"{dataset.name}, {run.name}"))


def _by_class(pair: nn.Module, dataset: Dataset, seed: int) -> dict[str, Tensor]:
    """Return some draws of each class."""
    given = given_classes(dataset)
    names = () if given is None else given.names
    return {
        name: answers.draw_rows(pair, dataset, _ROW, label=name, seed=seed)[0] for name in names
    }


def _written(path: Path, values: Tensor) -> Path:
    with atomic_write(path) as file:
        np.save(file, values.numpy())
    return path
