"""What `--help` prints, made from the signatures and docstrings of the commands.

The standard library alone is needed, so that help comes at once.
"""

import inspect
import re
import textwrap
import types
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from ppvae.cli.commands import CHOICES, COMMANDS, DATA_HELP, TAKE_DATA
from ppvae.cli.docstrings import docstring_of
from ppvae.cli.layout import hanging, width

_INDENT = 26  # where the explanations begin

# The options by group; those of the first screen are marked with a star. A command that is not
# here has one group, of its own options.
_GROUPS: dict[str, dict[str, str]] = {
    "data": {"arguments and options": "data* label* data.OPTION output*"},
    "fit": {
        "the data": "data* label* data.OPTION",
        "the pair": "latent* network* likelihood* posterior* prior pseudo_inputs conditional "
        "known_labels pair",
        "training": "epochs* steps batch_size* optimizer.lr* optimizer schedule objective "
        "kl_weight clip_norm accumulate patience* device* compile compile_from "
        "checkpoint_seconds checkpoint_steps checkpoint_keep tensorboard",
        "the run": "folder* resume* config overwrite seed* draws refine_seconds figures "
        "report trust",
    },
}
_TOLD = {
    "data": DATA_HELP,
    "label": "column of a table that holds the class; none unless given. It is --data.label in "
    "short; so can --data.id, --data.schema, --data.types, --data.missing, --data.header and "
    "--data.standardize be given, where the data have them",
    "data.OPTION": "an option of the dataset; --data.help DATA lists them",
    "optimizer.lr": "learning rate; 0.001 unless given",
    "help": "the options most needed",
    "help-all": "all options",
    "print_config": "print the configuration that repeats the command, and exit",
    "traceback": "show the traceback of an error",
}
_OF_CLASSES = (
    "Options of a dataset: `ppvae fit --data.help digits`; classes: `ppvae fit --network.help`; "
    "options of one: `ppvae fit --network.help MLP`"
)


@dataclass(frozen=True)
class Option:
    """What help says of one option.

    Args:
        shown: the option with what its value is, such as `--latent N`.
        text: what it is, up to a semicolon in short.
        default: what it is unless given; "" if it must be given, or has none.
    """

    shown: str
    text: str
    default: str = ""

    def line(self, indent: int, cut: bool) -> str:
        """Return it in brief: one line, cut but for the default, or as many as needed."""
        default = f" (default: {self.default})" if self.default else ""
        text = re.split(r"[;.] ", self.text)[0].rstrip(".;")
        if not cut:
            return "\n".join(hanging(f"  {self.shown}", f"{text}{default}", indent))
        room = max(20, width() - indent - len(default))
        text = textwrap.shorten(text, room, placeholder=" ...")
        return f"  {self.shown}".ljust(indent - 2) + f"  {text}{default}"

    def lines(self) -> list[str]:
        """Return as many lines as it takes."""
        text = self.text
        if self.default and f"{self.default} unless" not in text:
            text = f"{text.rstrip('.')} (default: {self.default})"
        return hanging(f"  {self.shown}", text, _INDENT)


def help_of_program() -> str:
    """Return what `ppvae --help` prints."""
    lines = ["usage: ppvae COMMAND ...", ""]
    lines += ["Variational autoencoders as probabilistic programs in Pyro.", ""]
    longest = max(map(len, COMMANDS)) + 4
    for name, function in COMMANDS.items():
        lines += hanging(f"  {name}", docstring_of(function).summary, longest)
        lines.append(f"{' ' * longest}{example_of(name)}")
    lines += ["", "Options: --help, --version, --traceback (shows where an error comes from)"]
    lines.append("`ppvae COMMAND --help` tells the options of a command.")
    return "\n".join(lines)


def help_of_command(command: str, whole: bool = False) -> str:
    """Return what `--help` prints of a command, or, as a whole, `--help-all`."""
    about = docstring_of(COMMANDS[command])
    lines = [*_usage(command), "", *textwrap.wrap(about.summary, width())]
    if whole and about.more:
        lines += ["", *textwrap.wrap(about.more, width())]
    lines += [""] * (not whole)
    groups = list(_grouped(command, whole))
    indent = min(_INDENT, max(len(option.shown) for _, group in groups for option in group) + 4)
    for title, options in groups:
        lines += [""] * whole + [f"{title[:1].upper()}{title[1:]}:"]
        for option in options:
            lines += option.lines() if whole else [option.line(indent, cut=command == "fit")]
    lines += ["", f"Example: {example_of(command)}"]
    lines += textwrap.wrap(_OF_CLASSES, width()) if whole and command == "fit" else []
    lines += [] if whole else [f"All options: ppvae {command} --help-all"]
    return "\n".join(lines)


def example_of(command: str) -> str:
    """Return a line that runs a command: that of its docstring, or its shortest form."""
    said = docstring_of(COMMANDS[command]).example
    return said if said.startswith("ppvae ") else _usage(command)[0].removeprefix("usage: ")


def _usage(command: str) -> list[str]:
    words = []
    if command in TAKE_DATA:
        words.append("DATA")
    for parameter in _parameters(command):
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            several = get_origin(parameter.annotation) is list
            name = parameter.name.upper() + "..." * several
            words.append(name if parameter.default is parameter.empty else f"[{name}]")
    return [f"usage: ppvae {command} {' '.join(words)} [OPTIONS]"]


def _parameters(command: str) -> Iterable[inspect.Parameter]:
    parameters = inspect.signature(COMMANDS[command]).parameters.values()
    return [parameter for parameter in parameters if parameter.name != "chosen"]


def _grouped(command: str, whole: bool) -> Iterable[tuple[str, Sequence[Option]]]:
    """Yield the groups of options: the main ones, or all."""
    options = _options(command)
    left = dict(options)
    groups = _GROUPS.get(command, {})
    for title, names in groups.items():
        chosen = [name.rstrip("*") for name in names.split() if whole or name.endswith("*")]
        yield title, [left.pop(name) for name in chosen if name in left]
    if not groups:
        own = [parameter.name for parameter in _parameters(command)]
        yield "arguments and options", [left.pop(name) for name in own]
    if whole:
        yield "further options", list(left.values())


def _options(command: str) -> dict[str, Option]:
    """Return all options of a command by their names."""
    told = docstring_of(COMMANDS[command]).arguments
    found: dict[str, Option] = {}
    if command in TAKE_DATA:
        found["data"] = Option("DATA", DATA_HELP)
        found["label"] = _option("label", "--label COLUMN", _TOLD["label"])
    if command == "fit":
        found["optimizer.lr"] = _option("optimizer.lr", "--optimizer.lr X", _TOLD["optimizer.lr"])
    found["data.OPTION"] = Option("--data.OPTION VALUE", _TOLD["data.OPTION"])
    for parameter in _parameters(command):
        name, text = parameter.name, told.get(parameter.name, "")
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            found[name] = _option(name, name.upper(), text, parameter.default)
            continue
        value = _value(parameter)
        shown = f"-n, --n {value}" if name == "n" else f"--{name} {value}"
        found[name] = _option(name, shown, text, parameter.default)
    for name, (annotation, text) in CHOICES[command].items():
        value = {"config": "FILE", "pair": "CLASS"}.get(name, _word(annotation) or "NAME")
        found[name] = Option(f"--{name} {value}", text)
    for name in ("print_config", "traceback", "help", "help-all"):
        found[name] = Option(f"--{name}", _TOLD[name])
    return found


def _option(name: str, shown: str, text: str, default: Any = None) -> Option:
    """Return an option whose default is that of the signature, or what its text says of it."""
    said = re.search(r"([^;]*) unless [^;]*given", text)
    if default is inspect.Parameter.empty:
        return Option(shown, text)
    if default is not None:
        value = str(default).lower() if isinstance(default, bool) else str(default)
        return Option(shown, text, value)
    return Option(shown, text, said[1].strip() if said else "")


def _value(parameter: inspect.Parameter) -> str:
    """Return a word for what an option takes."""
    return _word(parameter.annotation) or parameter.name.upper()


def _word(annotation: Any) -> str:
    if isinstance(annotation, str):  # what needs torch is not looked up
        return "X|CLASS" if "float" in annotation.rpartition("]")[2] else "CLASS"
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not types.NoneType]
        return "|".join(dict.fromkeys(word for part in parts if (word := _word(part))))
    if get_origin(annotation) is Literal:
        return "|".join(map(str, get_args(annotation)))
    named = {int: "N", float: "X", bool: "true|false", Path: "PATH"}
    return named.get(annotation, "")
