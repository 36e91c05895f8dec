"""Sequences of unequal length."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import constraints

from ppvae.data.dataset import Dataset
from ppvae.data.files import check_memory
from ppvae.data.padded_arrays import padded, read_padded
from ppvae.data.series_lengths import lengths_of
from ppvae.data.splitting import split
from ppvae.data.tabular.reading import read
from ppvae.data.tabular.schema import check_names

_LOG = logging.getLogger(__name__)
_Steps = NDArray[np.float64]


def sequences(
    source: str | Path | Sequence[Any] | Any,
    *,
    id: str = "id",
    time: str = "time",
    values: Sequence[str] | None = None,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
) -> Dataset:
    """Return sequences of real numbers, filled up to the longest one, as vectors.

    A datapoint is `(steps * features,)`, step after step: `x.unflatten(-1, (steps, features))`
    is what `networks.GRUEncoder` takes. The dataset's `seen` is 0 at what was filled up and at
    missing values, so that `pairs.assemble` leaves these out of the density and tells the encoder
    of them. Only the order of the times counts, not their distances.

    Args:
        source: a list of arrays `(steps, features)` or `(steps,)`; or a long table, a file or a
            frame that `data.table` takes, with a row for each step; or an array
            `(data, steps, features)`, or a file `.npy` of one, which is NaN at what was filled up;
            or a file `.npz` of such an array, "x", and of the steps of each sequence, "length".
        id: the column that says to which sequence a step belongs.
        time: the column that orders the steps.
        values: the columns of the features; all others unless given.
        validation: the fraction of sequences for validation.
        test: the fraction of sequences for testing.
        seed: the seed of the random split.

    Raises:
        FileNotFoundError: if there is no such file.
        TypeError: if the source is none of these.
        ValueError: if a sequence is empty or has other features than the first, a value is
            infinite or no number, a length is less than 1 or more than there are steps, a step
            occurs twice, or there is no such column.

    Example:
        >>> import ppvae
        >>> from ppvae import pairs
        >>> walks = [np.cumsum(np.random.randn(4 + n % 5, 2), 0) for n in range(60)]
        >>> dataset = sequences(walks)
        >>> dataset.event_shape, int(dataset.seen["test"][0].sum()) // 2 in range(4, 9)
        (torch.Size([16]), True)
        >>> pair = pairs.assemble(dataset, latent=2)  # what was filled up has no density
        >>> ppvae.fit(pair, dataset, epochs=1, progress=False).steps
        1
    """
    names: list[str] = []
    columns: tuple[str, ...] = ()
    name = "sequences"
    if isinstance(source, np.ndarray | Tensor):
        filled = padded(name, np.asarray(source))
    elif isinstance(source, str | Path) and Path(source).suffix in (".npy", ".npz"):
        name, filled = Path(source).stem, read_padded(Path(source))
    elif isinstance(source, list | tuple):
        filled = _filled(name, [_array(number, part) for number, part in enumerate(source)])
    else:
        name, names, columns, steps = _of_table(source, id, time, values)
        filled = _filled(name, steps)
    x = torch.from_numpy(filled)
    length = lengths_of(~x.isnan())
    if not length.all():
        raise ValueError(f"{name}: sequence {int(length.argmin())} has no value; remove it")
    longest, features = int(length.max()), x.shape[-1]
    x = x[:, :longest].flatten(1)
    known = ~x.isnan()
    dataset = split(
        name, x.nan_to_num(0.0), constraints.real, validation=validation, test=test, seed=seed
    )
    labels = columns or tuple(f"feature {feature}" for feature in range(features))
    note = f"{name}: {len(x)} sequences of {int(length.min())} to {longest} steps"
    _LOG.info(note)
    return replace(
        dataset,
        columns=tuple(f"{label} [{step}]" for step in range(longest) for label in labels),
        seen={part: known[rows].float() for part, rows in dataset.rows.items()},
        row_names={
            p: tuple(names[row] for row in rows.tolist()) for p, rows in dataset.rows.items()
        }
        if names
        else {},
        notes=(note,),
        series_shape=(longest, features),
    )


def _filled(name: str, steps: Sequence[_Steps]) -> NDArray[np.float32]:
    """Return sequences in one array, `(data, steps, features)`, NaN at what is filled up."""
    if not steps:
        raise ValueError("sequences got no sequence; expected at least one")
    features, longest = steps[0].shape[1], max(map(len, steps))
    for number, part in enumerate(steps):
        if part.shape[1] != features:
            raise ValueError(
                f"sequence {number} has {part.shape[1]} features and the first one {features}; "
                "expected the same"
            )
    check_memory(Path(name), len(steps) * longest * features * 12, "take shorter sequences")
    filled = np.full((len(steps), longest, features), np.nan, np.float32)
    for row, part in zip(filled, steps, strict=True):
        row[: len(part)] = part
    return filled


def _array(number: int, part: Any) -> _Steps:
    steps = np.asarray(part)
    if steps.dtype.kind not in "biuf" or steps.ndim not in (1, 2) or not steps.size:
        raise ValueError(
            f"sequence {number} has shape {steps.shape} and values of type {steps.dtype}; "
            "expected numbers (steps, features), at least one step"
        )
    return _finite(steps.astype(np.float64).reshape(len(steps), -1), f"sequence {number}")


def _finite(steps: _Steps, where: str) -> _Steps:
    if np.isinf(steps).any():
        raise ValueError(f"{where} holds infinite values; a missing one is NaN")
    return steps


def _of_table(
    source: Any, id: str, time: str, values: Sequence[str] | None
) -> tuple[str, list[str], tuple[str, ...], list[_Steps]]:
    """Return name, names of the sequences, columns, and each sequence's steps."""
    import pandas

    table = read(source)
    columns = tuple(values or [name for name in table.frame if name not in (id, time)])
    check_names(table.name, [id, time, *columns], table.frame)
    if not columns:
        raise ValueError(
            f"{table.name} has no column besides {id!r} and {time!r}; nothing to model"
        )
    frame = pandas.DataFrame({name: table.frame[name] for name in (id, time, *columns)})
    for name in (id, time):
        if frame[name].isna().any():
            raise ValueError(f"{table.name}: column {name!r} has missing cells; remove such rows")
    again = frame.duplicated([id, time])
    if again.any():
        first = frame[again].iloc[0]
        raise ValueError(
            f"{table.name}: {int(again.sum())} row(s) have {id} and {time} of an earlier one, "
            f"such as {first[id]!r}, {first[time]!r}; expected one row a step"
        )
    for name in columns:
        try:
            frame[name] = pandas.to_numeric(frame[name]).astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{table.name}: column {name!r} holds what is no number ({error}); name the "
                "columns of the features in values"
            ) from None
    frame = frame.sort_values([id, time], kind="stable")
    groups = [(str(key), rows) for key, rows in frame.groupby(id, sort=True)]
    steps = [_finite(rows[[*columns]].to_numpy(), f"sequence {key}") for key, rows in groups]
    return table.name, [key for key, _ in groups], columns, steps
