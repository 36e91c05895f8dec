"""The words of `fit` that name classes, with the whole names of these classes."""

from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from typing import Any

from ppvae.cli import annotations, class_names
from ppvae.cli.annotations import Types
from ppvae.cli.class_names import types_of_fit
from ppvae.inference.persistence import ClosedList


class Words:
    """The words after `fit`, and what they name.

    Args:
        words: the words.
        chosen: what files and defaults choose, by option: a class by its name, or
            `{"class_path": name, "init_args": arguments}`.

    Attributes:
        named: the words, with whole names of classes.

    Raises:
        ArgumentError: if a word is no class that its option may name.
    """

    def __init__(self, words: Sequence[str], chosen: Mapping[str, Any]) -> None:
        self._listed = ClosedList()
        self._types = types_of_fit()
        self._chosen = dict(chosen)
        self._said: dict[str, str] = {}
        self._asked: dict[str, str] = {}
        self.named = list(words)
        # First the options themselves, then those of the classes that they name.
        values = sorted(self._values(), key=lambda value: value[1].count("."))
        for place, option, word in values:
            name = self._whole_name(option, word)
            into = self._asked if option.endswith(".help") else self._said
            into[_path(option)] = name
            given = self.named[place]
            self.named[place] = f"--{option}={name}" if given.startswith("--") else name

    def _values(self) -> list[tuple[int, str, str]]:
        """Return place, option and value of all words that are values of options of `fit`."""
        found = []
        for place, word in enumerate(self.named):
            option, equals, value = word.removeprefix("--").partition("=")
            if not word.startswith("--") or option.partition(".")[0] not in self._types:
                continue
            if equals:
                found.append((place, option, value))
            elif place + 1 < len(self.named) and not self.named[place + 1].startswith("--"):
                found.append((place + 1, option, self.named[place + 1]))
        return found

    def _whole_name(self, option: str, word: str) -> str:
        types = self.types_of(option)
        if not annotations.classes_in(types) or annotations.takes_text(types, word):
            return word
        last, known = class_names.is_last_name(word), class_names.is_known_place(word)
        if not last and not known:
            return word  # a number, YAML, or the import path of the user's own class
        name = _path(option).rpartition(".")[2]
        whole = class_names.whole_name(word, name, types, self._listed) if last else word
        other = class_names.imported_subclass(word, types) or (known and _exists(word))
        if whole in self._listed or (other and not option.endswith(".help")):
            return whole
        could_be = class_names.what_could_be(word, name, types, self._listed)
        if not could_be:
            return word  # the parser says what is wrong
        raise ArgumentError(None, f"--{option}: there is no class {word}{could_be}")

    def types_of(self, option: str) -> Types:
        """Return what an option may be; nothing if that is not known."""
        root, *rest = _path(option).split(".")
        types = self._types.get(root, ())
        path = root
        for name in rest:
            found = self.class_of(path)
            if found is None:
                return ()
            types = annotations.expected(found)[0].get(name, ())
            path = f"{path}.{name}"
        return types

    def asked(self, option: str) -> Any:
        """Return the class whose help is asked for; None if none is named."""
        name = self._asked.get(_path(option))
        return None if name is None else self._listed.find(name)

    def class_of(self, option: str) -> Any:
        """Return the class that an option chooses; None if that is not known."""
        path = _path(option)
        name: Any = self._said.get(path)
        if name is None:
            value: Any = self._chosen
            for part in path.split("."):
                value = value.get("init_args", value) if isinstance(value, Mapping) else {}
                value = value.get(part) if isinstance(value, Mapping) else None
            name = value.get("class_path") if isinstance(value, Mapping) else value
        return self._listed.find(name) if name in self._listed else None


def _path(option: str) -> str:
    return option.replace(".init_args.", ".").removesuffix(".help")


def _exists(name: str) -> bool:
    from ppvae.cli.choices import imported

    try:
        imported(name, "")
    except ValueError:
        return False
    return True
