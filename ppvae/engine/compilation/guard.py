"""What a graph took for granted of the Python objects behind it."""

from collections.abc import Hashable
from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn

from ppvae.engine.modules import modules_of

_PLAIN = (bool, int, float, str, type(None))


class Guard:
    """Remembers numbers, texts and tensors that a pair's modules hold, and sees them change.

    A graph holds tensors by reference, so their values may change; that another tensor takes the
    place of one, or that a number such as a module's `training` changes, it would not notice.

    Args:
        programs: a model and a guide.

    Example:
        >>> import torch
        >>> layer = nn.Dropout()
        >>> guard = Guard(layer, layer)
        >>> before = guard.version()
        >>> _ = layer.eval()
        >>> guard.version() == before
        False
    """

    def __init__(self, *programs: Any) -> None:
        model, guide = programs
        modules = modules_of(SimpleNamespace(model=model, guide=guide))
        holders: list[dict[str, Any]] = [vars(module) for module in modules]
        for program in programs:
            owner = getattr(program, "__self__", program)
            if not isinstance(owner, nn.Module) and hasattr(owner, "__dict__"):
                holders.append(vars(owner))
        self._plain = [
            (holder, name)
            for holder in holders
            for name, value in holder.items()
            if type(value) in _PLAIN and not name.startswith("_")
        ]
        tensors: list[tuple[dict[str, Any], str]] = [
            (group, name)
            for module in modules
            for group in (module._parameters, module._buffers)
            for name in group
        ]
        tensors += [
            (holder, name)
            for holder in holders
            for name, value in holder.items()
            if isinstance(value, Tensor)
        ]
        self._tensors = tensors
        self._versions: dict[Hashable, int] = {}
        self._last: tuple[list[Any], list[Any], list[Any]] | None = None
        self._version = 0
        self._held: list[list[Any]] = []  # lest another tensor take the id of one

    def version(self) -> int:
        """Return a number for the present state: the same for the same state, and quickly."""
        plain = [holder.get(name) for holder, name in self._plain]
        tensors = [holder.get(name) for holder, name in self._tensors]
        details = [(t.requires_grad, t.dtype, t.shape) for t in tensors if t is not None]
        last = self._last
        if (
            last is None
            or plain != last[0]
            or details != last[2]
            or any(now is not before for now, before in zip(tensors, last[1], strict=True))
        ):
            self._last = plain, tensors, details
            self._held.append(tensors)
            self._version = self._versions.setdefault(self._state(), len(self._versions))
        return self._version

    def _state(self) -> Hashable:
        """Return what must not change, as one value to compare."""
        found = [holder.get(name) for holder, name in self._plain]
        tensors = [holder.get(name) for holder, name in self._tensors]
        return (
            *map(_hashable, found),
            *map(id, tensors),
            *[tensor.requires_grad for tensor in tensors if tensor is not None],
            *[(tensor.dtype, tensor.shape) for tensor in tensors if tensor is not None],
        )


def _hashable(value: Any) -> Hashable:
    return (value,) if type(value) in _PLAIN else (id(type(value)),)
