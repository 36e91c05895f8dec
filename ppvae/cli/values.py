"""Words of the command line that must be numbers, switches or one of some words."""

import types
from argparse import ArgumentTypeError
from typing import Any, Literal, Union, get_args, get_origin


def checked(annotation: Any, word: str) -> str:
    """Return a word that can be a value of a type; types that need torch are not looked at.

    Raises:
        ArgumentTypeError: if it cannot.

    Example:
        >>> checked(int | None, "3")
        '3'
        >>> checked(int | None, "three")
        Traceback (most recent call last):
            ...
        argparse.ArgumentTypeError: expected a value of type int, got three
    """
    if not _fits(annotation, word):
        raise ArgumentTypeError(f"expected {_described(annotation)}, got {word}")
    return word


def _fits(annotation: Any, word: str) -> bool:
    if get_origin(annotation) in (Union, types.UnionType):
        return any(_fits(part, word) for part in get_args(annotation))
    if get_origin(annotation) is Literal:
        return word in get_args(annotation)
    if annotation is types.NoneType:
        return word == "null"
    if annotation is bool:
        return word.lower() in ("true", "false")
    if annotation in (int, float):
        try:
            annotation(word)
        except ValueError:
            return False
    return True


def _described(annotation: Any) -> str:
    parts = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else ()
    choices: list[str] = []
    for part in parts or (annotation,):
        if part is bool:
            choices += ["true", "false"]
        elif get_origin(part) is Literal:
            choices += map(repr, get_args(part))
        elif part is not types.NoneType:
            return f"a value of type {part.__name__}"
    return f"one of {', '.join(choices)}"
