"""What a configuration file may put where, as the annotations of an argument say."""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, TypeVar

import pytest
from torch import nn

from ppvae.cli import annotations

Meters = NewType("Meters", float)
Module = TypeVar("Module", bound=nn.Module)
Free = TypeVar("Free")


class Side(Enum):
    left = 1


def sized(
    length: Meters,
    depth: Annotated[int, "layers"],
    network: Module,
    extra: "SomewhereElse",  # noqa: F821
    plain=3,
    start=None,
    made=nn.ReLU(),  # noqa: B008
): ...


class Base:
    def __init__(self, width: int) -> None: ...


class Derived(Base):
    def __init__(self, *, depth: int = 1, **others: Any) -> None: ...


def test_members_of_an_annotation():
    found, more = annotations.expected(sized)
    assert not more
    assert found["length"] == (float,)
    assert found["depth"] == (int,)
    assert found["network"] == (nn.Module,)
    assert found["plain"] == found["start"] == (Any,)
    # What is only imported for the type checker, or shown by an object alone, may be anything.
    for name in ("extra", "made"):
        assert annotations.classes_in(found[name]) and annotations.fits(nn.ReLU, found[name])


def test_constructors_hand_on_what_they_do_not_name():
    found, more = annotations.expected(Derived)
    assert (list(found), more) == (["depth", "width"], False)
    assert annotations.expected(dict) == ({}, True)


@pytest.mark.parametrize(
    ("hint", "index", "item"),
    [
        (Sequence[int], 1, (int,)),
        (tuple[int, str], 1, (str,)),
        (tuple[int, str], 2, ()),
        (tuple[float, ...], 5, (float,)),
        (list, 0, (Any,)),
        (Mapping[str, int], 0, ()),
        (int, 0, ()),
    ],
)
def test_items_of_a_list(hint, index, item):
    assert annotations.items_of((hint,), index) == item


def test_values_of_a_mapping():
    assert annotations.values_of((Mapping[str, int | None],)) == (int, type(None))
    assert annotations.values_of((dict,)) == (Any,)
    assert annotations.values_of((Sequence[int],)) == ()


@pytest.mark.parametrize(
    ("hint", "taken"),
    [(Literal["a"], False), (str, True), (Path, True), (Side, True), (int, False)],
)
def test_text_is_a_value_of_some_types_alone(hint, taken):
    assert annotations.takes_text((hint,), "b") is taken


@pytest.mark.parametrize(
    ("found", "hint", "taken"),
    [
        (nn.ReLU, type[nn.Module], True),
        (Path, type[nn.Module], False),
        (nn.ReLU, Callable[[int], nn.Module], True),
        (Path, Callable[[int], nn.Module], False),
        (nn.ReLU, Callable[[float], float], True),  # its objects are called
        (Path, Callable[[float], float], False),
        (nn.ReLU, nn.Module, True),
        (Path, nn.Module, False),
        (len, nn.Module, True),  # what a function returns is known only later
    ],
)
def test_class_where_an_object_is_wanted(found, hint, taken):
    assert annotations.fits(found, (hint,)) is taken


def test_types_in_words():
    hints = (type[nn.Module], Callable[[float], float], Any, type(None))
    expected = "a class of Module or a class whose objects are called or a value"
    assert annotations.shown(hints) == expected
    assert annotations.shown((type(None),)) == "null"
