"""Which of its arguments an operation writes to."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from ppvae.engine.compilation.torch_internals import written_arguments

# Operations whose schema does not tell that they write in training mode: the position of the
# argument that holds the mode, and those of the running mean and variance.
_UNANNOUNCED = {torch.ops.aten.native_batch_norm.default: (5, (3, 4))}


def written_by(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the arguments that an operation writes to, those of a list one by one.

    Args:
        function: an operation such as `torch.ops.aten.add_.Tensor`, or anything else.
        args: what it is called with, tensors or what stands for them in a graph.
        kwargs: likewise.

    Example:
        >>> list(written_by(torch.ops.aten.add_.Tensor, ["x", "y"], {}))
        ['x']
    """
    mode, positions = _UNANNOUNCED.get(function, (0, ()))
    if positions and args[mode]:
        yield from (args[position] for position in positions if args[position] is not None)
    for position, name in written_arguments(function):
        value = args[position] if position < len(args) else kwargs.get(name)
        yield from value if isinstance(value, list | tuple) else (value,)
