"""What `--OPTION.help` prints: the classes of an option, or the options of a class."""

import inspect
import textwrap
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from typing import Any

from ppvae.cli import annotations, class_names
from ppvae.cli.docstrings import docstring_of
from ppvae.cli.layout import hanging, width
from ppvae.cli.structures import structure_of, structures
from ppvae.cli.words import Words
from ppvae.inference.persistence import ClosedList

_INDENT = 30
_FIRST = ("path", "folder", "source")  # what the name of a file or folder is


def help_of_class(option: str, words: Words) -> str:
    """Return the help that an option such as `network.help` asks for.

    Raises:
        ArgumentError: if the option names no class.
    """
    path = option.removesuffix(".help")
    types = words.types_of(path)
    if not annotations.classes_in(types):
        raise ArgumentError(None, f"--{path} names no class; `ppvae fit --help-all` explains it")
    found = words.asked(path)
    if found is None:
        return _of_option(path, types)
    return _of_class(path, found, types)


def help_of_dataset(name: str, path: str, function: Callable[..., Any]) -> str:
    """Return what a dataset is and which options it has.

    Args:
        name: what the command line calls it.
        path: the import path of its function.
        function: the function.
    """
    about = docstring_of(function)
    lines = [path, *textwrap.wrap(about.summary, width())]
    for paragraph in about.more.split("\n\n"):
        lines += ["", *textwrap.wrap(paragraph, width())] if paragraph else []
    skipped = () if name.removeprefix("ppvae.data.") == path.rpartition(".")[2] else _FIRST
    return "\n".join([*lines, "", *_options(function, "data", skipped)])


def help_of_pair(name: str | None) -> str:
    """Return our pairs, or what one of them is and which options it has.

    Raises:
        ArgumentError: if it is no pair of ours.
    """
    if name is None:
        kinds = structures()
        indent = max(map(len, kinds)) + 4
        lines = ["--pair is a class of ours, or of your own by import path:", ""]
        for each, kind in kinds.items():
            lines += hanging(f"  {each}", docstring_of(kind).summary.split(". ")[0], indent)
        return "\n".join([*lines, "", "`ppvae fit --pair.help NAME` tells the options of one."])
    ours = structure_of(name)
    if ours is None:
        raise ArgumentError(None, "--pair.help tells the options of a pair of ours")
    about = textwrap.wrap(docstring_of(ours.kind).summary, width())
    shared = f"It takes {', '.join(f'--{option}' for option in ours.of_fit)} of fit too."
    own = _options(ours.kind.of, "pair", ["dataset", *ours.of_fit]) if ours.own else []
    return "\n".join([ours.path, *about, "", *own, *textwrap.wrap(shared, width())])


def _of_option(path: str, types: annotations.Types) -> str:
    names = class_names.classes_for(path.rpartition(".")[2], types, ClosedList())
    lines = [f"--{path} is {annotations.shown(types)}:", ""]
    indent = min(34, max(map(len, names), default=0) + 4)
    for name, found in names.items():
        lines += hanging(f"  {name}", docstring_of(found).summary.split(". ")[0], indent)
    lines += ["", f"`ppvae fit --{path}.help CLASS` tells the options of one."]
    return "\n".join(lines)


def _of_class(path: str, found: Any, types: annotations.Types) -> str:
    name = ClosedList().name_of(found, f"{found.__module__}.{found.__qualname__}")
    hint = next(hint for hint in annotations.classes_in(types) if annotations.fits(found, (hint,)))
    given = list(annotations.expected(found)[0])[: len(class_names.arguments_given(hint))]
    about = textwrap.wrap(docstring_of(found).summary, width())
    return "\n".join([name, *about, "", *_options(found, path, given)])


def _options(found: Any, path: str, given: Sequence[str]) -> list[str]:
    """Return the lines on the options of a function or class, but for those that are filled in."""
    about, parameters = docstring_of(found).arguments, inspect.signature(found).parameters
    lines: list[str] = []
    for argument, types in annotations.expected(found)[0].items():
        if argument in given:
            continue
        text = about.get(argument, "") or annotations.shown(types)
        default = getattr(parameters.get(argument), "default", inspect.Parameter.empty)
        if default is not inspect.Parameter.empty:
            text = f"{text.rstrip('.')} (default: {_written(default)})"
        lines += hanging(f"  --{path}.{argument}", text, _INDENT)
    return lines or ["It has no options."]


def _written(value: Any) -> str:
    """Return a default as it is written on the command line."""
    if inspect.isclass(value):
        return value.__name__
    if isinstance(value, tuple):
        return str([*value]).replace(" ", "")
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
