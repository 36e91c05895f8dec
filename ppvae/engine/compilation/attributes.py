"""What a run of a pair changes in the attributes of its modules.

A graph computes tensors that a module keeps (`self.theta = pyro.param(...)`) as further outputs.
What else a run changes, such as a number, a graph cannot follow.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn
from torch.distributions import Distribution

from ppvae.engine.compilation.agreement import Quantity
from ppvae.engine.compilation.capture_error import CaptureError
from ppvae.engine.compilation.torch_internals import (
    slots,
    storage_id,
    tree_flatten,
    tree_unflatten,
)
from ppvae.engine.modules import modules_of

PLAIN = (bool, int, float, str, type(None))

_NUMBERS = (bool, int, float)
_ABSENT = object()
_TENSOR = object()  # stands for a tensor among the leaves of a value


def holders_of(programs: Sequence[Any]) -> list[Any]:
    """Return the modules of model and guide, and the objects whose methods these are."""
    if not programs:
        return []
    model, guide = programs
    holders: list[Any] = [*modules_of(SimpleNamespace(model=model, guide=guide))]
    for program in programs:
        owner = getattr(program, "__self__", program)
        if not isinstance(owner, nn.Module) and hasattr(owner, "__dict__"):
            holders.append(owner)
    return holders


@dataclass(frozen=True, eq=False)
class Attribute:
    """An attribute of a module.

    Attributes:
        owner: the name of the module's class.
        held: the dictionary that holds it.
        name: its name there.
    """

    owner: str
    held: dict[Any, Any]
    name: Any

    @property
    def place(self) -> tuple[int, Any]:
        """What two of these have in common if they are the same attribute."""
        return id(self.held), self.name

    def __str__(self) -> str:
        return f"{self.owner}.{self.name}"


class Kept:
    """The attributes that a run of a pair changes, as they were when this was made.

    Args:
        programs: a model and a guide, or nothing.

    Attributes:
        attributes: those that hold tensors of the run, once `tensors` has found them.
    """

    def __init__(self, programs: Sequence[Any]) -> None:
        self._before: list[tuple[str, dict[Any, Any], dict[Any, Any]]] = []
        self._contents: dict[int, list[Any]] = {}
        self.attributes: list[Attribute] = []
        self._trees: list[tuple[list[Any], Any]] = []  # leaves, structure
        self._replaced: list[tuple[Attribute, Any]] = []
        for holder in holders_of(programs):
            owner = type(holder).__name__
            for held in (vars(holder), *(slots(holder)[1:] if _is_module(holder) else ())):
                self._remember(owner, held)
                for name, value in held.items():
                    if isinstance(value, dict) and not str(name).startswith("_"):
                        self._remember(f"{owner}.{name}", value)

    def _remember(self, owner: str, held: dict[Any, Any]) -> None:
        self._before.append((owner, held, dict(held)))
        for value in held.values():
            if isinstance(value, list | set | deque):
                self._contents[id(value)] = [*value]

    def changed(self) -> list[tuple[Attribute, Any, Any]]:
        """Return each attribute that has changed since, what it was, and what it is."""
        found = []
        for owner, held, before in self._before:
            for name, value in held.items():
                old = before.get(name, _ABSENT)
                contents = self._contents.get(id(value)) if value is old else None
                if value is not old or (contents is not None and not _same(contents, [*value])):
                    found.append((Attribute(owner, held, name), old, value))
        return found

    def tensors(self) -> list[Tensor]:
        """Return the tensors of the run that are kept as attributes.

        Raises:
            CaptureError: if the run changes anything else.
        """
        tensors: list[Tensor] = []
        for attribute, old, value in self.changed():
            leaves, tree = tree_flatten(value)
            try:
                _check_constant(attribute, old, value, leaves)
            except CaptureError:
                private = str(attribute.name).startswith("_")  # such as what torch's modules note
                if private and not (type(old) in _NUMBERS and type(value) in _NUMBERS):
                    continue
                raise
            found = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
            if found:
                self.attributes.append(attribute)
                self._trees.append((leaves, tree))
                self._replaced.append((attribute, old))
                tensors += [tensor.detach() for tensor in found]
        return tensors

    def check_unread(self, tensors: Iterable[Tensor]) -> None:
        """Check that none of the tensors a graph reads is one that an attribute held before.

        Raises:
            CaptureError: if one is; the graph would read that one for ever.
        """
        read = {storage_id(tensor) for tensor in tensors}
        for (attribute, old), (new, _) in zip(self._replaced, self._trees, strict=True):
            before = {
                storage_id(leaf) for leaf in tree_flatten(old)[0] if isinstance(leaf, Tensor)
            }
            now = {storage_id(leaf) for leaf in new if isinstance(leaf, Tensor)}
            if read & (before - now):
                raise CaptureError(
                    f"{attribute} is read in the run after the one that sets it, and compiled "
                    "code would read one value for ever; hold it in a buffer that is changed in "
                    f"place, as by self.{attribute.name}.copy_(...)"
                )
        self._trees = [
            ([_TENSOR if isinstance(leaf, Tensor) else leaf for leaf in leaves], tree)
            for leaves, tree in self._trees
        ]
        self._replaced = []

    def restore(self) -> None:
        """Give all attributes back what they were."""
        for attribute, old, value in self.changed():
            if value is old:
                _refill(value, self._contents[id(value)])
            elif old is _ABSENT:
                del attribute.held[attribute.name]
            else:
                attribute.held[attribute.name] = old
        self._before, self._contents = [], {}

    def put(self, outputs: list[Tensor]) -> list[Tensor]:
        """Set the attributes to the last outputs of a run; return the others."""
        count = sum(leaf is _TENSOR for leaves, _ in self._trees for leaf in leaves)
        if not count:
            return outputs
        values = iter(outputs[-count:])
        for attribute, (leaves, tree) in zip(self.attributes, self._trees, strict=True):
            filled = [next(values) if leaf is _TENSOR else leaf for leaf in leaves]
            attribute.held[attribute.name] = tree_unflatten(filled, tree)
        return outputs[:-count]

    def quantities(self) -> list[Quantity]:
        """Return what the attributes hold now."""
        return [
            Quantity(
                f"value of {attribute}",
                [
                    leaf.detach().clone()
                    for leaf in tree_flatten(attribute.held[attribute.name])[0]
                    if isinstance(leaf, Tensor)
                ],
            )
            for attribute in self.attributes
        ]


def _check_constant(attribute: Attribute, old: Any, value: Any, leaves: list[Any]) -> None:
    before = [] if old is _ABSENT else tree_flatten(old)[0]
    for place, leaf in enumerate([None] if value is old else leaves):
        if isinstance(leaf, Distribution):
            raise CaptureError(
                f"{attribute} is another {type(leaf).__name__} after every run of the pair, and "
                "compiled code would keep one; keep tensors, such as its mean"
            )
        earlier = before[place] if place < len(before) else _ABSENT
        if value is old or (type(leaf) in PLAIN and not _equal(leaf, earlier)):
            how = "a number that changes in a buffer"
            if type(old) in _NUMBERS:
                buffer = f"self.register_buffer({attribute.name!r}, torch.tensor({type(old)()}))"
                how = f"it in a buffer: {buffer}"
            raise CaptureError(
                f"{attribute} changes at every run of the pair, and compiled code would keep one "
                f"value; hold {how}"
            )


def _storages(leaves: list[Any]) -> set[int]:
    return {storage_id(leaf) for leaf in leaves if isinstance(leaf, Tensor)}


def _is_module(holder: Any) -> bool:
    return isinstance(holder, nn.Module)


def _equal(first: Any, second: Any) -> bool:
    both_nan = type(first) is type(second) is float and first != first and second != second
    return both_nan or (type(first) is type(second) and bool(first == second))


def _same(first: list[Any], second: list[Any]) -> bool:
    return len(first) == len(second) and all(
        one is other or (type(one) in PLAIN and _equal(one, other))
        for one, other in zip(first, second, strict=True)
    )


def _refill(container: Any, contents: list[Any]) -> None:
    container.clear()
    (container.update if isinstance(container, set) else container.extend)(contents)
