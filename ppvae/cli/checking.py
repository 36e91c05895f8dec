"""What a configuration file says, checked against a closed list and against signatures.

The parser of the command line takes texts apart: it reads them as YAML, and imports what they
name. Hence a text of a file reaches the parser only where the signature asks for a text; where it
asks for a class, the parser gets the public name of one that was looked up in the closed list.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ppvae.cli import annotations, class_names
from ppvae.cli.annotations import Types
from ppvae.cli.choices import DATASETS, READERS, reader_of
from ppvae.cli.first_look import did_you_mean
from ppvae.cli.structures import Structure, structure_of
from ppvae.inference.persistence import ClosedList

ON_THE_COMMAND_LINE = (
    *("config", "folder", "overwrite", "resume", "trust", "traceback", "print_config"),
)
"""Options that say where and how a command runs: no file may say them."""

_WORDS = re.compile(r"[^\W\d][\w /+-]*")  # no punctuation of YAML, nor of an import path
_OTHER = ("null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity")


@dataclass(frozen=True)
class Checker:
    """Checks what one file says.

    Args:
        source: the file, for messages.
        listed: what it may name.
    """

    source: Path
    listed: ClosedList

    def options(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of `fit` that the file gives, as the parser may have them.

        Raises:
            ValueError: if it says what only the command line may say, names what is not in the
                list, or gives a text where something else is expected.
        """
        types = {**class_names.types_of_fit(), "data": (str,), "pair": (nn.Module,)}
        for key in content:
            if key in ON_THE_COMMAND_LINE:
                raise ValueError(
                    f"{self.source} says {key!r}, which only the command line may say; remove it"
                )
            if key not in types:
                meant = did_you_mean(key, types)
                raise ValueError(f"{self.source}: there is no option {key!r:.60}{meant}")
        self._refuse_foreign(content, "")
        checked = {}
        for key, value in content.items():
            ours = structure_of(value) if key == "pair" else None
            if ours is not None:
                checked[key] = self._structure(ours)
            elif key == "data":
                checked[key] = self._dataset(value)
            else:
                checked[key] = self._value(value, types[key], key)
        return checked

    def _structure(self, ours: Structure) -> dict[str, Any]:
        """Check the options of a pair of ours, those of its class method `of`."""
        types, _ = annotations.expected(ours.kind.of)
        for name in ours.arguments:
            if name not in ours.own:
                meant = did_you_mean(name, ours.own)
                raise ValueError(f"{self.source}: pair has no option {name!r:.60}{meant}")
        checked = {
            name: self._value(value, types[name], f"pair.init_args.{name}")
            for name, value in ours.arguments.items()
        }
        return {"class_path": ours.path, "init_args": checked}

    def _refuse_foreign(self, value: Any, where: str) -> None:
        """Refuse a class that is not in the list, wherever it stands, before any is looked up."""
        if isinstance(value, Mapping):
            name = value.get("class_path", "")
            if where != "data" and not (isinstance(name, str) and "." not in name):
                self._refuse_unlisted(name, f"{where}.class_path")
            for key, inner in value.items():
                self._refuse_foreign(inner, f"{where}.{key}".removeprefix("."))
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                self._refuse_foreign(inner, f"{where}.{index}")

    def _refuse_unlisted(self, name: Any, where: str, classes: Types = ()) -> None:
        if name in self.listed:
            return
        ours = str(name).startswith(("ppvae.", "torch.", "pyro."))
        short = "." in str(name) and len(str(name)) <= 100
        could_be_trusted = short and str(name).replace(".", "").isidentifier()
        hint = f"; if you trust it, add --trust {name}" if could_be_trusted and not ours else ""
        if classes and class_names.is_last_name(str(name)):
            option = where.removesuffix(".class_path").rpartition(".")[2]
            hint = class_names.what_could_be(str(name), option, classes, self.listed)
        raise ValueError(
            f"{self.source} names {_quoted(name)} under {where!r}, which is not among the classes "
            f"of ppvae, torch and Pyro that a file may name{hint}"
        )

    def _found(self, name: str, where: str) -> tuple[Any, str]:
        """Return the class or function that a file names, and its public name."""
        self._refuse_unlisted(name, where)
        try:
            found = self.listed.find(name)
        except LookupError as error:
            raise ValueError(f"{self.source}: {where}: {error}") from error
        return found, self.listed.name_of(found, name)

    def _dataset(self, value: Any) -> Any:
        """Check the dataset: its name, a file, or the import path of a function."""
        name, arguments = self._taken_apart(value, "data") if _is_class(value) else (value, {})
        if not isinstance(name, str):
            raise self._wrong("data", "the name of a dataset, a file or an import path", name)
        reader = reader_of(name)
        if reader is not None:
            name, arguments = reader[0], {**arguments, **reader[1]}
        if name in (*DATASETS, *READERS):
            name = f"ppvae.data.{name}"
        elif "." not in name:
            return name  # it is said elsewhere which datasets there are
        function, public = self._found(name, "data")
        return {
            "class_path": public,
            "init_args": self._arguments(function, arguments, "data.init_args"),
        }

    def _value(self, value: Any, types: Types, where: str) -> Any:
        """Return a value as the parser may have it, where one of some types is expected."""
        if isinstance(value, str):
            return self._text(value, types, where)
        if isinstance(value, list):
            if not annotations.items_of(types):
                raise self._wrong(where, annotations.shown(types), value)
            return [
                self._value(item, annotations.items_of(types, index), f"{where}.{index}")
                for index, item in enumerate(value)
            ]
        if not isinstance(value, Mapping):
            return value  # a number, a switch or null: the parser checks it
        if _is_class(value):
            return self._class(value, types, where)
        fields, inner = annotations.dataclass_in(types), annotations.values_of(types)
        if fields is not None:
            return self._arguments(fields, value, where)
        if not inner:
            raise self._wrong(where, annotations.shown(types), value)
        return {key: self._value(part, inner, f"{where}.{key}") for key, part in value.items()}

    def _text(self, value: str, types: Types, where: str) -> Any:
        classes, anything = annotations.classes_in(types), annotations.takes_anything(types)
        if classes or anything:
            name = self._whole_name(value, classes, where)
            if name in self.listed:
                public = self._of_kind(name, classes, where)
                # Of a name the parser would make an object, with all arguments.
                itself = annotations.want_any_callable(classes)
                return self.listed.find(public) if itself else public
        text = annotations.takes_text(types, value)
        if text and not classes:
            return value
        if (text or anything) and _WORDS.fullmatch(value) and value.lower() not in _OTHER:
            return value  # the parser reads it as it stands
        if classes or anything:
            self._refuse_unlisted(value, where, classes)
        raise self._wrong(where, annotations.shown(types), value)

    def _class(self, value: Mapping[str, Any], types: Types, where: str) -> dict[str, Any]:
        name, arguments = self._taken_apart(value, where)
        classes = annotations.classes_in(types)
        if not classes and not annotations.takes_anything(types):
            raise self._wrong(where, annotations.shown(types), value)
        name = self._whole_name(name, classes, where)
        self._refuse_unlisted(name, f"{where}.class_path", classes)
        public = self._of_kind(name, classes, f"{where}.class_path")
        checked = self._arguments(self.listed.find(public), arguments, f"{where}.init_args")
        return {"class_path": public, "init_args": checked}

    def _of_kind(self, name: str, classes: Types, where: str) -> str:
        """Return the public name of a class that a file names, if it is of the right kind."""
        found, public = self._found(name, where)
        if classes and not annotations.fits(found, classes):
            raise self._wrong(where, annotations.shown(classes), name)
        return public

    def _whole_name(self, name: str, classes: Types, where: str) -> str:
        """Return the whole name of a class that a file may call by its last part alone."""
        if not class_names.is_last_name(name):
            return name
        return class_names.whole_name(name, where.rpartition(".")[2], classes, self.listed)

    def _taken_apart(self, value: Mapping[str, Any], where: str) -> tuple[str, Mapping[str, Any]]:
        for key in value.keys() - {"class_path", "init_args"}:
            raise ValueError(
                f"{self.source}: {where} has {key!r:.60}; expected class_path and init_args"
            )
        name, arguments = value["class_path"], value.get("init_args") or {}
        if not isinstance(name, str):
            raise self._wrong(f"{where}.class_path", "the name of a class", name)
        if not isinstance(arguments, Mapping):
            raise self._wrong(f"{where}.init_args", "arguments by name", arguments)
        return name, arguments

    def _arguments(
        self, function: Callable[..., Any], arguments: Mapping[str, Any], where: str
    ) -> dict[str, Any]:
        types, others = annotations.expected(function)
        for name in arguments:
            if name not in types and not (others and name.isidentifier()):
                meant = did_you_mean(name, types)
                owner = where.removesuffix(".init_args")
                raise ValueError(f"{self.source}: {owner} has no option {name!r:.60}{meant}")
        return {
            name: self._value(value, types.get(name, (Any,)), f"{where}.{name}")
            for name, value in arguments.items()
        }

    def _wrong(self, where: str, expected: str, value: Any) -> ValueError:
        kind = "the text " if isinstance(value, str) else ""
        return ValueError(
            f"{self.source}: {where}: expected {expected}, got {kind}{_quoted(value)}"
        )


def _is_class(value: Any) -> bool:
    return isinstance(value, Mapping) and "class_path" in value


def _quoted(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 100 else f"{text[:100]}..."
