"""What a graph assumes of the Python objects that its program used."""

import itertools
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Any

from torch import Tensor, nn

from ppvae.engine.compilation.attributes import PLAIN, Attribute, holders_of
from ppvae.engine.compilation.torch_internals import slots

_STATES = 16  # that are remembered, with their tensors


class Guard:
    """Remembers numbers, texts and tensors that a pair's modules hold, and detects changes.

    A graph holds tensors by reference, so their values may change. It would not notice that a
    tensor is replaced by another, or that a number such as a module's `training` changes.

    Args:
        programs: a model and a guide.

    Attributes:
        ignored: attributes that are not watched.

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
        holders = holders_of(programs)
        modules = [holder for holder in holders if isinstance(holder, nn.Module)]
        self.ignored: list[Attribute] = []
        self._ignored: set[tuple[int, Any]] = set()
        self._plain = [
            (vars(holder), name)
            for holder in holders
            for name, value in vars(holder).items()
            if type(value) in PLAIN and not name.startswith("_")
        ]
        tensors: list[tuple[dict[str, Any], str]] = [
            (group, name) for module in modules for group in slots(module) for name in group
        ]
        tensors += [
            (vars(holder), name)
            for holder in holders
            for name, value in vars(holder).items()
            if isinstance(value, Tensor)
        ]
        self._tensors = tensors
        groups = [(group, module) for module in modules for group in slots(module)]
        owners = [*groups, *((vars(holder), holder) for holder in holders)]
        self._owners = {id(held): type(holder).__name__ for held, holder in owners}
        # State -> its number, and the tensors of that state: kept alive, no other gets their ids.
        self._versions: OrderedDict[Hashable, tuple[int, list[Any]]] = OrderedDict()
        self._last: tuple[list[Any], list[Any], list[Any]] | None = None
        self._version = 0
        self._changed: list[str] = []
        self._next = itertools.count()

    def ignore(self, attributes: Iterable[Attribute]) -> None:
        """Do not watch attributes that every run of the programs changes."""
        new = [attribute for attribute in attributes if attribute.place not in self._ignored]
        if not new:
            return
        self.ignored += new
        ignored = self._ignored = {attribute.place for attribute in self.ignored}
        self._plain = [place for place in self._plain if _place(place) not in ignored]
        self._tensors = [place for place in self._tensors if _place(place) not in ignored]
        self._versions.clear()
        self._last = None

    @property
    def changed(self) -> str:
        """The numbers and tensors that the last call of `version` found changed, by name."""
        return ", ".join(self._changed) or "something that its modules hold"

    def version(self) -> int:
        """Return a number for the present state: the same for the same state, and quickly.

        Of the 16 latest states; one from before gets a new number.
        """
        plain = [_hashable(holder.get(name)) for holder, name in self._plain]
        tensors = [holder.get(name) for holder, name in self._tensors]
        details = [(t.requires_grad, t.dtype, t.shape) for t in tensors if t is not None]
        last = self._last
        if (
            last is None
            or plain != last[0]
            or details != last[2]
            or any(now is not before for now, before in zip(tensors, last[1], strict=True))
        ):
            if last is not None:
                self._changed = self._differences(last, plain, tensors)
            self._last = plain, tensors, details
            state = (*plain, *map(id, tensors), *details)
            if state not in self._versions:
                self._versions[state] = next(self._next), tensors
            self._versions.move_to_end(state)
            if len(self._versions) > _STATES:
                self._versions.popitem(last=False)
            self._version = self._versions[state][0]
        return self._version

    def _differences(
        self, last: tuple[list[Any], list[Any], list[Any]], plain: list[Any], tensors: list[Any]
    ) -> list[str]:
        places = [
            place
            for place, before, now in zip(self._plain, last[0], plain, strict=True)
            if before != now
        ]
        places += [
            place
            for place, before, now in zip(self._tensors, last[1], tensors, strict=True)
            if before is not now
        ]
        return [f"{self._owners.get(id(holder), '?')}.{name}" for holder, name in places]


def _place(place: tuple[dict[str, Any], str]) -> tuple[int, str]:
    return id(place[0]), place[1]


def _hashable(value: Any) -> Hashable:
    return (value,) if type(value) in PLAIN else (id(type(value)),)
