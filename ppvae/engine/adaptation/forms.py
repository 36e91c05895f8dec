"""How a program's arguments are made of tensors of rows, and of what all rows share."""

import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from ppvae.engine.batches import as_tensor

_CONSTANTS = (type(None), bool, int, float)
_PARTS = (Tensor, np.ndarray, PackedSequence, dict, tuple)


@dataclass(frozen=True)
class Rows:
    """One of the batch's tensors, with the rows moved to a dimension.

    Args:
        position: which of the tensors.
        dim: where the program takes its rows.
    """

    position: int
    dim: int

    def argument(self, batch: Sequence[Tensor]) -> Tensor:
        """Return the tensor as the program takes it."""
        rows = batch[self.position]
        return rows.movedim(0, self.dim) if self.dim else rows


@dataclass(frozen=True)
class Packed:
    """Sequences of different lengths, one a row, that a program takes packed.

    Args:
        position: which of the batch's tensors is the padded one; the next one has the lengths.
        decreasing: whether the sequences were packed by length, longest first.
    """

    position: int
    decreasing: bool

    def argument(self, batch: Sequence[Tensor]) -> PackedSequence:
        """Pack the sequences."""
        padded, lengths = batch[self.position], batch[self.position + 1].cpu()
        decreasing = self.decreasing and bool((lengths[1:] <= lengths[:-1]).all())
        return pack_padded_sequence(padded, lengths, batch_first=True, enforce_sorted=decreasing)


@dataclass(frozen=True)
class Form:
    """How the arguments of a program are made of a batch.

    Args:
        arguments: by position; `Rows`, `Packed`, constants, or tuples, lists and dicts of them.
        keywords: by name, likewise.
        lengths: number of rows of each tensor that was given, where they differ.
    """

    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any] = field(default_factory=dict)
    lengths: tuple[int, ...] = ()

    @functools.cached_property
    def plain(self) -> bool:
        """Whether the batch itself holds the arguments."""
        return not self.keywords and all(
            isinstance(part, Rows) and part == Rows(position, 0)
            for position, part in enumerate(self.arguments)
        )

    @functools.cached_property
    def kind(self) -> Hashable:
        """What is equal for forms of which one compiled program serves all."""
        return None if self.plain else _kind((self.arguments, dict(self.keywords)))

    def filled(self, batch: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments that a batch stands for, by position and by name."""

        def argument(part: Any) -> Any:
            return part.argument(batch) if isinstance(part, Rows | Packed) else part

        return (
            tuple(_mapped(part, argument) for part in self.arguments),
            {name: _mapped(part, argument) for name, part in self.keywords.items()},
        )


def _kind(part: Any) -> Hashable:
    if isinstance(part, dict):
        return tuple((name, _kind(value)) for name, value in part.items())
    if isinstance(part, tuple | list) and not isinstance(part, PackedSequence):
        return tuple(_kind(value) for value in part)
    return id(part) if isinstance(part, Tensor) else part


PLAIN = Form(())
"""The form of tensors that are a program's arguments themselves."""


def taken_apart(
    arguments: tuple[Any, ...],
    keywords: Mapping[str, Any],
    *,
    dim: int = 0,
    rows: int | None = None,
    argument: str = "data",
) -> tuple[list[Tensor], Form]:
    """Take the tensors of rows out of a program's arguments.

    Tensors of another number of rows are for all rows alike, as are None and numbers.

    Args:
        arguments: by position.
        keywords: by name.
        dim: the dimension of rows.
        rows: their number; that of the first tensor unless given.
        argument: what to call the data in an error.

    Returns:
        The tensors, rows first, and the form that makes the arguments of them.

    Raises:
        TypeError: if a part is no tensor, array of numbers, packed sequence, number or None.
    """
    tensors: list[Tensor] = []
    lengths: list[int] = []

    def taken(part: Any) -> Any:
        nonlocal rows
        if isinstance(part, _CONSTANTS):
            return part
        if isinstance(part, PackedSequence):
            padded, sizes = pad_packed_sequence(part, batch_first=True)
            tensors.extend((padded, sizes.to(padded.device)))
            lengths.append(len(sizes))
            rows = len(sizes) if rows is None else rows
            return Packed(len(tensors) - 2, part.sorted_indices is None)
        tensor = as_tensor(part, argument)
        if tensor.dim() <= dim:
            return tensor
        lengths.append(tensor.shape[dim])
        rows = tensor.shape[dim] if rows is None else rows
        if tensor.shape[dim] != rows:
            return tensor
        tensors.append(tensor.movedim(dim, 0))
        return Rows(len(tensors) - 1, dim)

    form = Form(
        tuple(_mapped(part, taken) for part in arguments),
        {name: _mapped(part, taken) for name, part in keywords.items()},
    )
    different = tuple(lengths) if len(set(lengths)) > 1 else ()
    return tensors, Form(form.arguments, form.keywords, different)


def moved_to(form: Form, like: Tensor | None) -> Form:
    """Move what all rows share to a pair's device and dtype."""
    if like is None:
        return form

    def moved(part: Any) -> Any:
        if not isinstance(part, Tensor):
            return part
        return part.to(like.device, like.dtype if part.is_floating_point() else None)

    return Form(
        tuple(_mapped(part, moved) for part in form.arguments),
        {name: _mapped(part, moved) for name, part in form.keywords.items()},
        form.lengths,
    )


def _mapped(part: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function to the leaves of tuples, dicts and lists of tensors."""
    if isinstance(part, dict):
        return {name: _mapped(value, function) for name, value in part.items()}
    if isinstance(part, tuple) and not isinstance(part, PackedSequence):
        values = [_mapped(value, function) for value in part]
        return part._make(values) if hasattr(part, "_make") else tuple(values)
    if isinstance(part, list) and any(isinstance(value, _PARTS) for value in part):
        return [_mapped(value, function) for value in part]
    return function(part)
