"""A first look at the words of the command line, with the standard library alone.

It knows the commands and the names of all options, and refuses a wrong one, or a value that is no
number where one must be, before anything heavy is imported. What the options of classes and
datasets mean is left to the parser in `parsing`.
"""

import argparse
import difflib
import functools
import inspect
import itertools
import re
from argparse import ArgumentError
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_origin

from ppvae.cli import help, meant
from ppvae.cli.commands import CHOICES, COMMANDS, TAKE_DATA
from ppvae.cli.layout import show
from ppvae.cli.values import checked

_FLAGS = ("--help", "--help-all", "--traceback", "--print_config")
_WHOLE = ("--help-all", "--help_all")


@dataclass(frozen=True)
class Look:
    """What the words say at first sight.

    Args:
        command: the name of the command.
        words: the words after it, those options by their whole name that may stand in short.
        given: the values of each option, as text, in the order of the words; those of the dotted
            options of classes and datasets by their whole name.
    """

    command: str
    words: Sequence[str]
    given: Mapping[str, Sequence[str]]

    @property
    def asks_for_help(self) -> bool:
        """Whether the words ask what a command, a class or a dataset takes."""
        return any(name.rpartition(".")[2] == "help" for name in self.given)

    def last(self, name: str) -> str | None:
        """Return the value that counts where an option is given more than once."""
        return self.given[name][-1] if name in self.given else None


def look(words: Sequence[str]) -> Look:
    """Look at the words.

    Raises:
        ArgumentError: if there is no such command or option, a value cannot be what it must be, or
            an argument is missing.
        SystemExit: after `--help` or `--version`.
    """
    place = next((i for i, word in enumerate(words) if not word.startswith("-")), len(words))
    program = _program()
    _, unknown = program.parse_known_args(words[:place])
    if unknown:
        raise _unknown(unknown[0], ["--help", "--version", "--traceback"])
    if place == len(words):
        raise ArgumentError(None, f"expected a command, one of {{{','.join(COMMANDS)}}}")
    command = words[place]
    if command not in COMMANDS:
        expected = f"expected one of {{{','.join(COMMANDS)}}}{did_you_mean(command, COMMANDS)}"
        raise ArgumentError(None, f"there is no command {command!r}; {expected}")
    words = words[place + 1 :]
    asked = [i for i, word in enumerate(words) if word in ("-h", "--help", *_WHOLE)]
    if asked:
        whole = any(words[i] in _WHOLE or words[i + 1 : i + 2] == ["all"] for i in asked)
        show(help.help_of_command(command, whole))
        raise SystemExit(0)
    return _command(command, list(_in_full(command, words)))


def _program() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False, add_help=False)
    parser.add_argument("-h", "--help", action=_Help, nargs=0)
    parser.add_argument("--version", action=_Version, nargs=0)
    parser.add_argument("--traceback", action="store_true")
    return parser


class _Help(argparse.Action):
    """Prints the help of the program."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        show(help.help_of_program())
        parser.exit()


class _Version(argparse.Action):
    """Prints the version, which is looked up only if it is asked for."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        import ppvae

        print(f"ppvae {ppvae.__version__}")
        parser.exit()


def _in_full(command: str, words: Sequence[str]) -> Iterable[str]:
    """Yield the words, with `data.` before the options of a dataset that stand without it.

    A switch that no value follows is true.
    """
    own = {name: annotation for name, annotation, _ in _arguments(command)}
    for word, following in itertools.zip_longest(words, words[1:], fillvalue="-"):
        name, equals, value = word.removeprefix("--").partition("=")
        root = name.partition(".")[0]
        short = word.startswith("--") and root in meant.OF_DATA and root not in own
        yield f"--data.{name}{equals}{value}" if short else word
        if word == f"--{name}" and own.get(name) is bool and following.startswith("-"):
            yield "true"


def _command(command: str, words: Sequence[str]) -> Look:
    words = words if command in TAKE_DATA else _in_order(words)
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False, add_help=False)
    for flag in ("--traceback", "--print_config"):
        parser.add_argument(flag, action="store_true")
    positionals, names = [], []
    for name, annotation, positional in _arguments(command):
        check = functools.partial(checked, annotation)
        if positional:
            positionals.append(name)
            parser.add_argument(name, nargs="*" if get_origin(annotation) is list else "?")
            continue
        names.append(f"--{name}")
        also = ["-n"] if name == "n" else [f"--{name}+"] if get_origin(annotation) is list else []
        parser.add_argument(*also, f"--{name}", dest=name, action="append", type=check)
    for option in _dotted(words, names):
        optional = "?" if option.endswith(".help") else None
        parser.add_argument(option, dest=option[2:], action="append", nargs=optional)
    known, unknown = parser.parse_known_args(words)
    wrong = [word for word in unknown if word.startswith("-")] or unknown
    if wrong:
        raise _unknown(wrong[0], [*names, *_FLAGS])
    values = {
        name: value if isinstance(value, list) else [value]
        for name, value in vars(known).items()
        if value not in (None, False, [])
    }
    seen = Look(command, words, values)
    left_out = {*values, *_optional(command)}
    missing = [name for name in positionals if name not in left_out]
    if missing and not seen.asks_for_help and not values.keys() & {"config", "resume"}:
        raise ArgumentError(None, f"the following arguments are required: {', '.join(missing)}")
    return seen


def _arguments(command: str) -> Iterable[tuple[str, Any, bool]]:
    """Yield name and type of each argument, and whether it goes without its name."""
    if command in TAKE_DATA:
        yield "data", str, True
    for parameter in inspect.signature(COMMANDS[command]).parameters.values():
        if parameter.name != "chosen":
            positional = parameter.kind is not inspect.Parameter.KEYWORD_ONLY
            yield parameter.name, parameter.annotation, positional
    for name, (annotation, _) in CHOICES[command].items():
        yield name, annotation, False


def _optional(command: str) -> Iterable[str]:
    """Yield the arguments without a name of their own that may be left out."""
    for parameter in inspect.signature(COMMANDS[command]).parameters.values():
        if (
            parameter.kind is not parameter.KEYWORD_ONLY
            and parameter.default is not parameter.empty
        ):
            yield parameter.name


def _in_order(words: Sequence[str]) -> list[str]:
    """Return the words with those before that belong to no option.

    Parsers take them in one piece only: `RUN --draws 5 DATA` would be an error.
    """
    plain, named = [], []
    rest = iter(words)
    for word in rest:
        if word == "-" or not word.startswith("-"):
            plain.append(word)
            continue
        named.append(word)
        if "=" not in word and word not in _FLAGS and word != "-h":
            named += [value for value in [next(rest, None)] if value is not None]
    return [*plain, *named]


def _dotted(words: Sequence[str], names: Sequence[str]) -> Iterable[str]:
    """Yield the options of classes and datasets among the words, such as `--network.width`."""
    roots = {*names, "--data"}
    options = (word.partition("=")[0] for word in words if word.startswith("--"))
    return dict.fromkeys(o for o in options if "." in o and o.partition(".")[0] in roots)


def _unknown(word: str, names: Sequence[str]) -> ArgumentError:
    option = word.partition("=")[0]
    if not option.startswith("-"):
        return ArgumentError(None, f"unrecognized argument {word!r}")
    word = option.removeprefix("--")
    other = meant.option_meant(word)
    known = {*names, "--data", *(f"--{name}" for name in meant.OF_DATA)}
    if other is not None and f"--{re.split('[. ]', other)[0]}" in known:
        return ArgumentError(None, f"unrecognized option {option}; did you mean --{other}?")
    root, dot, rest = word.partition(".")
    suggested = did_you_mean(
        root, [name.removeprefix("--") for name in known], f"--{{}}{dot}{rest}"
    )
    return ArgumentError(None, f"unrecognized option {option}{suggested}")


def did_you_mean(word: str, names: Iterable[str], shown: str = "{}") -> str:
    """Return the end of a sentence that suggests the name most like a word, if one is.

    Example:
        >>> did_you_mean("sed", ["rows", "seed"])
        '; did you mean seed?'
    """
    near = difflib.get_close_matches(word, list(names), n=1)
    return f"; did you mean {shown.format(near[0])}?" if near else ""
