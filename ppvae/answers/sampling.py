"""New rows, drawn from the model of a pair, of a class that is asked for."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ppvae.answers.decoding import decoded
from ppvae.answers.rows import Frame, feature_names, free, label_of, named
from ppvae.data import (
    Dataset,
    RowsOnDisk,
    Standardization,
    class_names,
    given_classes,
    spread,
)
from ppvae.engine import (
    Batch,
    Pair,
    Processes,
    SimulationMessenger,
    Site,
    Unsupported,
    as_batch,
    isolated,
    rows_at,
    traced,
)
from ppvae.pairs import SemiSupervisedVAE

_FEW = 10_000  # training rows on disk whose conditions are drawn from
_BLOCK = 1024  # rows that are drawn at once


def sample(
    pair: Pair,
    dataset: Dataset,
    n: int,
    *,
    label: str | int | None = None,
    units: Standardization | None = None,
    seed: int = 0,
    shared: bool = False,
) -> Frame:
    """Return new rows of the model, in the columns, types and units of the data.

    Args:
        pair: any pair with one observed site.
        dataset: the data that it was made for.
        n: number of rows.
        label: the name or number of a class, of a pair that is given the class, or of a
            `SemiSupervisedVAE`. Without it a pair that is given the class draws classes in the
            proportions of the training data.
        units: those of the data, where the pair gives standardized values.
        seed: of the draws.
        shared: whether the processes that `torchrun` has started draw a part each; all of them
            must call it, and each gets all rows, the same ones as one process alone.

    Returns:
        A pandas frame: the class, if the pair is given it, then all columns.

    Raises:
        Unsupported: if the pair has not exactly one observed site, or is not given the class.
        ValueError: if `n` is less than 1, or there is no such class.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits().conditional()
        >>> sevens = sample(pairs.assemble(digits, latent=2), digits, 10, label=7)
        >>> sevens.shape, sevens.label.unique().tolist()
        ((10, 65), [7])
    """
    import pandas

    x, classes = draw_rows(pair, dataset, n, label=label, seed=seed, shared=shared)
    x = x if units is None else units.invert(x)
    names = feature_names(dataset)
    first = {}
    if classes is not None:
        first[free(label_of(dataset), names)] = named(classes.numpy(), dataset)
    return pandas.DataFrame({**first, **decoded(x, names, dataset.schema)})


def draw_rows(
    pair: Pair,
    dataset: Dataset,
    n: int,
    *,
    label: str | int | None = None,
    seed: int = 0,
    shared: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Draw new rows, `(n, *event)`, and their classes `(n,)` if the pair is given them.

    Arguments and errors are those of `sample`. Conditions and sizes are those of training rows,
    drawn at random.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    # The rows of a batch tell a pair how many datapoints there are, not what they look like.
    parts: Any = dataset.batch("train")
    if any(isinstance(part, RowsOnDisk) for part in parts):
        places = torch.from_numpy(spread(len(parts[0]), _FEW))
        parts = tuple(part[places] for part in parts)
    batch = as_batch(parts, pair, split="train")
    given = given_classes(dataset)
    classes = None if given is None else given.of(batch)
    if label is not None and isinstance(pair, SemiSupervisedVAE):  # it draws the class itself
        code = code_of(label, class_names(dataset))
        classes = torch.full((len(batch[0]),), code, device=batch[0].device)
        pair, batch = pair.given_class(), (batch[0], classes)
    elif label is not None:
        if given is None or classes is None:
            reason = "is not given the class of a row" if dataset.labels else "knows no classes"
            raise Unsupported(
                f"the pair {reason}, so that it draws no rows of the class {str(label)!r}; train "
                "it with --conditional true, or as a SemiSupervisedVAE, on data with labels"
            )
        classes = torch.full_like(classes, code_of(label, given.names))
        batch = given.put(batch, classes)
    if dataset.seen:
        batch = (*batch[:-1], torch.ones_like(batch[-1]))
    rows = len(batch[0])
    chosen = None
    if len(batch) > 1:  # conditions and sizes of rows at random
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randint(rows, (n,), generator=generator)
    size = min(rows, _BLOCK)

    def block(place: int, start: int) -> Tensor:
        stop = min(n, start + size)
        if chosen is None:
            part = tuple(tensor[: stop - start] for tensor in batch)
        else:
            part = rows_at(batch, chosen[start:stop].to(batch[0].device))
        with isolated(pair, seed + place):  # the same rows, whatever the number of processes
            return _drawn(pair, part)

    processes = Processes.present() if shared else Processes()
    parts = processes.divided(range(0, n, size), block)
    drawn = None if classes is None or chosen is None else classes.cpu()[chosen]
    return torch.cat(parts), drawn


def code_of(label: str | int, names: Sequence[str]) -> int:
    """Return the number of a class that is given by its name or number.

    Raises:
        ValueError: if there is no such class.
    """
    if str(label) in names:
        return list(names).index(str(label))
    if str(label).isdecimal() and int(label) < len(names):
        return int(label)
    raise ValueError(f"there is no class {str(label)!r}; expected one of {', '.join(names):.300}")


def of_datapoints(observed: list[Site], x: Tensor) -> list[Site]:
    """Leave out what is observed beside the datapoints `x`, such as their classes."""
    alike = [site for site in observed if site["value"].shape == x.shape]
    return alike if len(alike) == 1 else observed


def _drawn(pair: Pair, batch: Batch) -> Tensor:
    """Draw as many datapoints as a batch has rows from the model of any pair."""
    trace = traced(SimulationMessenger()(pair.model), batch, "the model was sampled")
    observed = [s for s in trace.nodes.values() if s.get("infer", {}).get("was_observed")]
    observed = of_datapoints(observed, batch[0])
    if len(observed) != 1:
        raise Unsupported(
            f"sample needs a pair with one observed site, this one has {len(observed)}"
        )
    value: Tensor = observed[0]["value"].cpu()
    return value
