"""Datapoints drawn from the model of a run."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ppvae.data import Dataset
from ppvae.engine import Batch, SimulationMessenger, Unsupported, as_batch, isolated, traced
from ppvae.inference.persistence import atomic_write
from ppvae.report import plots
from ppvae.report.figures import image_layout
from ppvae.report.given import given_of
from ppvae.report.run_folder import Run

_GRID = 64  # images in a grid
_ROW = 12  # images of a class


def write_samples(
    run: Run, pair: nn.Module, dataset: Dataset, count: int, seed: int
) -> Iterator[Path]:
    """Draw datapoints from the model; write them, and a figure of images; yield the files.

    Samples are given in the units of the data. A pair that is given conditions gets those of the
    training data, from the first row on.

    Raises:
        ValueError: if `count` is less than 1.
        Unsupported: if the pair has not exactly one observed site.
    """
    if count < 1:
        raise ValueError(f"n must be at least 1, got {count}")
    batch = as_batch(dataset, pair, split="train")
    drawn = _drawn(pair, batch, count, seed)
    if (by := run.standardization) is not None:
        drawn = by.invert(drawn)
    path = run.folder / "samples.npy"
    with atomic_write(path) as file:
        np.save(file, drawn.numpy())
    yield path
    if dataset.image_shape is not None:
        title = "draws x of p(x|z) at draws z of the prior"
        shape, limits = image_layout(dataset)
        given = given_of(dataset, batch)
        if given is None:
            figure = plots.image_grid(drawn[:_GRID], shape, title, limits=limits)
        else:
            title = "draws x of p(x|z, y) at draws z of the prior, by class y"
            rows = {}
            with isolated(pair, seed):
                for name, part in given.rows(batch, _ROW):
                    rows[name] = _observed(pair, part)
            figure = plots.image_rows(rows, shape, title, limits=limits)
        yield run.figure("draws", figure)


def _drawn(pair: nn.Module, batch: Batch, count: int, seed: int) -> Tensor:
    """Draw `count` datapoints from the model of any pair, `(count, *event)`."""
    # The rows of a batch tell a pair how many datapoints there are, and its conditions; not what
    # they look like.
    parts = []
    length = len(batch[0])
    with isolated(pair, seed):
        for start in range(0, count, length):
            rows = min(length, count - start)
            parts.append(_observed(pair, tuple(part[:rows] for part in batch)))
    return torch.cat(parts)


def _observed(pair: nn.Module, batch: Batch) -> Tensor:
    """Run the model without its observations; return what it draws in their place."""
    trace = traced(SimulationMessenger()(pair.model), batch, "the model was sampled")
    observed = [site for site in trace.nodes.values() if site.get("infer", {}).get("was_observed")]
    if len(observed) != 1:
        raise Unsupported(
            f"sample needs a pair with one observed site, this one has {len(observed)}"
        )
    drawn: Tensor = observed[0]["value"]
    return drawn.cpu()
