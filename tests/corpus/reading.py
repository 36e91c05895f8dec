"""Reads a file of the corpus and compares what is read with what is expected."""

import warnings

import numpy as np

from ppvae.cli.choices import source
from tests.corpus.case import Fit, Refused

LONGEST = 700
"""Characters of a refusal."""


def read(case, folder):
    """Return the dataset of a file, as the command line reads it."""
    path = case.write(folder)
    chosen = source(str(path))
    return chosen.function(**{**chosen.arguments, **case.options})


def read_faults(case, folder):
    """Return what is wrong with how a file is read, in sentences; none if nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            dataset = read(case, folder)
        except Exception as error:  # also a bug: it is a fault like others
            return _of_error(case.expected, error)
    if isinstance(case.expected, Refused):
        return [f"was read, where a refusal was expected{_shown(dataset)}"]
    return list(_of_dataset(case.expected, dataset))


def _of_error(expected, error):
    sentence = str(error)
    shown = f"{type(error).__name__}: {' '.join(sentence.split())}"
    if isinstance(expected, Fit):
        return [f"was refused: {shown}"]
    if not isinstance(error, ValueError | OSError):
        return [f"ended in {shown}"]
    faults = [
        f"the refusal lacks {word!r}: {shown}" for word in expected.words if word not in sentence
    ]
    if "\n" in sentence.strip() or len(sentence) > LONGEST:
        faults.append(f"the refusal is no single sentence: {shown}")
    return faults


def kinds_of(dataset):
    """Return the columns of each kind, of a table."""
    kinds = {}
    for column in dataset.schema.columns if dataset.schema else ():
        kinds.setdefault(type(column).__name__.lower(), []).append(column.name)
    return kinds


def _shown(dataset):
    kinds = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds_of(dataset).items())
    aside = dict(dataset.schema.set_aside) if dataset.schema else {}
    return f" [{kinds:.300}] [aside: {aside!s:.300}] [{' | '.join(dataset.notes):.300}]"


def _of_dataset(expected, dataset):
    parts = ("train", "validation", "test")
    rows = sum(len(getattr(dataset, part)) for part in parts)
    if rows != expected.rows:
        yield f"has {rows} rows, {expected.rows} were expected{_shown(dataset)}"
    if not all(getattr(dataset, part).isfinite().all() for part in parts):
        yield "holds numbers that are not finite"
    if not expected.kinds and not expected.others:
        return
    if dataset.schema is None:
        yield "has no schema"
        return
    yield from _of_columns(expected, dataset)
    said = " ".join(dataset.notes)
    yield from (
        f"no note says {word!r}{_shown(dataset)}" for word in expected.said if word not in said
    )
    missing = int(sum((1 - seen).sum() for seen in dataset.seen.values()))
    if expected.missing is not None and missing != expected.missing:
        yield f"{missing} cells are missing, {expected.missing} were expected{_shown(dataset)}"


def _of_columns(expected, dataset):
    found = {name: kind for kind, names in kinds_of(dataset).items() for name in names}
    wanted = {name: kind for kind, names in expected.kinds.items() for name in names}
    for name, kind in wanted.items():
        if found.get(name) != kind:
            yield f"{name!r} is {found.get(name, 'left out')}, not {kind}{_shown(dataset)}"
    more = [name for name in found if name not in wanted]
    if more and not expected.others:
        yield f"there are also {more}{_shown(dataset)}"
    aside = dataset.schema.set_aside
    for name, word in expected.aside.items():
        if name not in aside:
            yield f"{name!r} was not left out{_shown(dataset)}"
        elif word not in aside[name]:
            yield f"{name!r} was left out, but {word!r} is not said: {aside[name]!r}"
    if not expected.others:
        left = [name for name in aside if name not in expected.aside]
        if left:
            yield f"{left} was left out{_shown(dataset)}"
    numbers = np.concatenate(
        [getattr(dataset, p).numpy() for p in ("train", "validation", "test")]
    )
    if numbers.shape[1] != len(dataset.schema.columns):
        yield f"{numbers.shape[1]} features, {len(dataset.schema.columns)} columns"
