"""What a user passes as data, tensors or a loader of them, as the arguments of programs."""

import inspect
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from torch.utils.data import Dataset as TorchDataset

from ppvae.data import Dataset, memory
from ppvae.engine.adaptation.arguments import Arguments, runs_on
from ppvae.engine.batches import as_tensor
from ppvae.engine.errors import noted
from ppvae.engine.isolation import seeded

_LOG = logging.getLogger(__name__)
_READ = 256  # rows of a dataset that are read at once


def arguments_of(
    data: Any,
    *,
    split: str,
    pair: Any = None,
    reading: "Reading | None" = None,
    argument: str = "data",
) -> Arguments:
    """Return data as the arguments of a program: those of a dict by name.

    All rows of a `DataLoader` or of a map-style dataset are read into tensors.

    Args:
        data: tensors, a tuple or dict of them, a dataset or a `DataLoader`.
        split: the part of a dataset with parts that is taken.
        pair: whose programs are called; with it, labels from a loader that it does not take are
            left aside.
        reading: how the items of a loader are read; by `Reading(pair)` unless given.
        argument: what to call the data in an error.

    Raises:
        TypeError: if a loader has no last row, or yields what is no tensor.
        ValueError: if a loader has no rows, too many for the memory, or rows of several shapes.
    """
    if isinstance(data, Dataset):
        data = data.batch(split)
    reading = reading or Reading(pair)
    if isinstance(data, TensorDataset) and reading.batch is None:
        return reading.arguments(data.tensors)
    if isinstance(data, DataLoader | IterableDataset) or is_map_style(data):
        return _whole(data, reading, argument)
    return _by_position_or_name(data)


def _by_position_or_name(data: Any) -> Arguments:
    if isinstance(data, dict):
        return (), data
    return (tuple(data) if isinstance(data, tuple | list) else (data,)), {}


def is_map_style(data: object) -> bool:
    """Tell whether data are a map-style dataset, of which a `DataLoader` makes batches.

    Example:
        >>> is_map_style(TensorDataset(torch.ones(3, 2))), is_map_style([torch.ones(3, 2)])
        (True, False)
    """
    if isinstance(data, TorchDataset):
        return not isinstance(data, IterableDataset)
    other = (Tensor, Sequence, Mapping, Dataset, DataLoader, nn.Module, type)
    if isinstance(data, other) or hasattr(data, "__array__") or hasattr(data, "toarray"):
        return False
    return hasattr(data, "__getitem__") and hasattr(data, "__len__")


@final
class Reading:
    """How what a loader yields becomes the arguments of a pair's programs.

    Labels that a pair does not take are left aside, which is logged once: all tensors but the
    first where the pair's model takes exactly one.

    Args:
        pair: whose programs are called; without it no label is left aside.
        batch: maps what the loader yields to a tensor, a tuple of arguments, or a dict of
            arguments by name.

    Attributes:
        batch: that function, or None.
        dim: the dimension of the rows.
    """

    def __init__(self, pair: Any = None, batch: Callable[[Any], Any] | None = None) -> None:
        self.batch = batch
        self.dim: int = getattr(pair, "data_dim", 0)
        self._pair = pair
        self._alone: bool | None = None  # whether the first tensor is taken alone

    def arguments(self, item: Any) -> Arguments:
        """Return the arguments that an item stands for."""
        if self.batch is not None:
            with noted("in batch(item), the function passed as batch"):
                item = self.batch(item)
            return _by_position_or_name(item)
        by_position, by_name = _by_position_or_name(item)
        if by_name or len(by_position) < 2 or self._pair is None:
            return by_position, by_name
        if self._alone is None:
            self._alone = takes_one(self._pair, by_position)
            if self._alone:
                _LOG.warning(
                    "the loader yields %d parts a batch and the pair takes the first; the others, "
                    "such as labels, are left aside",
                    len(by_position),
                )
        return (by_position[:1] if self._alone else by_position), by_name


def takes_one(pair: Any, arguments: tuple[Any, ...]) -> bool:
    """Tell whether a pair takes the first of several arguments, and takes it alone.

    The signatures of its programs say so; where these take any number, as `*conditions`, it is
    tried.
    """
    any_number = False
    for name in ("model", "guide"):
        program = getattr(pair, name, None)
        function = program.forward if isinstance(program, nn.Module) else program
        try:
            signature = inspect.signature(function)  # type: ignore[arg-type]  # it may be None
            signature.bind(None)
        except TypeError:
            return False
        except ValueError:  # a built-in function has none
            any_number = True
            continue
        kinds = [parameter.kind for parameter in signature.parameters.values()]
        by_position = kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD)
        by_position += kinds.count(inspect.Parameter.POSITIONAL_ONLY)
        if by_position > 1:
            return False
        any_number = any_number or inspect.Parameter.VAR_POSITIONAL in kinds
    if not any_number:
        return True
    return not runs_on(pair, (arguments, {})) and runs_on(pair, (arguments[:1], {}))


def _whole(data: Any, reading: Reading, argument: str) -> Arguments:
    """Read all rows of a loader or map-style dataset, in its order."""
    kind = type(data).__name__
    loader = data if isinstance(data, DataLoader) else None
    try:
        rows = len(data)
    except (TypeError, NotImplementedError):
        rows = None
    if rows is None or isinstance(getattr(loader, "dataset", data), IterableDataset):
        raise TypeError(
            f"{argument} is a {kind} of a stream or without a length, which may have no end; pass "
            "its rows as one tensor, or a dataset with __len__ and __getitem__"
        )
    if loader is None:
        loader = DataLoader(data, batch_size=_READ)
    pieces: list[Arguments] = []
    size, limit = 0, memory() / 2  # they are joined into a second copy
    with seeded(0), noted(f"while reading {argument}"):
        for item in itertools.islice(loader, len(loader)):
            pieces.append(reading.arguments(item))
            size += sum(part.nbytes for part in _tensors(pieces[-1]))
            if size > limit or (len(pieces) == 1 and size * len(loader) > 2 * limit):
                raise ValueError(
                    f"{argument}, a {kind}, has more rows than fit into the memory of this "
                    "machine; pass fewer, such as torch.utils.data.Subset(dataset, range(1000))"
                )
    if not pieces:
        raise ValueError(f"{argument}, a {kind}, has no rows; expected at least one")
    joined: Arguments = _joined(pieces, reading.dim, argument)
    return joined


def _tensors(part: Any) -> Iterator[Any]:
    if isinstance(part, dict | tuple | list) and not isinstance(part, PackedSequence):
        for value in part.values() if isinstance(part, dict) else part:
            yield from _tensors(value)
    elif isinstance(part, Tensor | np.ndarray):
        yield part


def _joined(pieces: list[Any], dim: int, argument: str) -> Any:
    """Join the parts of several batches, each to that of the same place."""
    first = pieces[0]
    if isinstance(first, PackedSequence):
        raise TypeError(
            f"{argument} yields packed sequences, of which no one tensor can be made; pass them "
            "all as one packed sequence"
        )
    alike = {(type(piece), len(piece) if _holds(piece) else 0) for piece in pieces}
    if _holds(first) and len(alike) == 1:
        if isinstance(first, dict):
            if any(piece.keys() != first.keys() for piece in pieces):
                raise ValueError(f"{argument} yields dicts of different names; expected the same")
            return {
                name: _joined([piece[name] for piece in pieces], dim, argument) for name in first
            }
        parts = [_joined(list(part), dim, argument) for part in zip(*pieces, strict=True)]
        return first._make(parts) if hasattr(first, "_make") else type(first)(parts)
    if first is None or isinstance(first, bool | int | float):
        if any(piece != first for piece in pieces):
            raise ValueError(
                f"{argument} yields batches with different numbers beside the tensors"
            )
        return first
    if _holds(first):
        raise ValueError(
            f"{argument} yields batches of different structure, or lists such as of text; "
            "expected tensors, and the same names or number of them in each batch"
        )
    tensors = [as_tensor(piece, argument) for piece in pieces]
    if len(tensors) == 1:
        return tensors[0]
    if tensors[0].dim() <= dim and all(torch.equal(tensors[0], other) for other in tensors):
        return tensors[0]  # for all rows alike
    try:
        return torch.cat(tensors, dim)
    except RuntimeError:
        shapes = list(dict.fromkeys(tuple(tensor.shape) for tensor in tensors))[:3]
        raise ValueError(
            f"{argument} yields batches of shapes {', '.join(map(str, shapes))}, which cannot be "
            "joined along the rows; pass `batch`, or a dataset, that makes them of one shape"
        ) from None


def _holds(part: object) -> bool:
    return isinstance(part, dict | tuple | list) and not isinstance(part, PackedSequence)
