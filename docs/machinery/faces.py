"""What is public: the names of every `__all__`, and the place on the site where each is found."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import ppvae

# Rooms in which each name has a page of its own; in the others all names stand on one page.
FOR_USERS = (
    "ppvae",
    "ppvae.data",
    "ppvae.data.tabular",
    "ppvae.pairs",
    "ppvae.priors",
    "ppvae.likelihoods",
    "ppvae.posteriors",
    "ppvae.networks",
    "ppvae.distributions",
    "ppvae.distributions.flows",
    "ppvae.inference",
    "ppvae.diagnostics",
    "ppvae.refinement",
    "ppvae.answers",
    "ppvae.reports",
    "ppvae.reports.plots",
    "ppvae.estimators",
)


@dataclass(frozen=True)
class Name:
    """A public name.

    Args:
        room: the module in which it is documented, the outermost that has it.
        name: its name there.
        value: what it is.
        home: the module that defines it.
        original: its name there.
    """

    room: str
    name: str
    value: Any
    home: str
    original: str

    @property
    def full(self) -> str:
        """The dotted name under which it is documented."""
        return f"{self.room}.{self.name}"


@cache
def rooms() -> list[str]:
    """Return all modules that have an `__all__`, but for the command line, which has its page."""
    inner = pkgutil.walk_packages(ppvae.__path__, "ppvae.")
    found = ["ppvae", *sorted(module.name for module in inner if module.ispkg)]
    return [room for room in found if _listed(room) and not room.startswith("ppvae.cli")]


def _listed(room: str) -> list[str]:
    return list(getattr(importlib.import_module(room), "__all__", ()))


@cache
def names() -> dict[str, Name]:
    """Return what each dotted public name stands for, where several may stand for one."""
    found: dict[str, Name] = {}
    first: dict[tuple[str, str], Name] = {}
    for room in sorted(rooms(), key=lambda room: (room.count("."), room not in FOR_USERS, room)):
        module = importlib.import_module(room)
        for name in _listed(room):
            value = getattr(module, name)
            if isinstance(value, ModuleType):
                continue
            home, original = _home(room, name)
            known = first.setdefault((home, original), Name(room, name, value, home, original))
            found[f"{room}.{name}"] = found[f"{home}.{original}"] = known
    return found


@cache
def public(room: str) -> list[Name]:
    """Return the names of a room, in the order of its `__all__`."""
    return [names()[f"{room}.{name}"] for name in _listed(room) if f"{room}.{name}" in names()]


@cache
def _imported(module: str) -> dict[str, tuple[str, str]]:
    """Return from where a module imports each name, `(module, name there)`."""
    path = importlib.import_module(module).__file__
    assert path is not None
    found = {}
    for node in ast.walk(ast.parse(Path(path).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ppvae"):
            for alias in node.names:
                found[alias.asname or alias.name] = node.module, alias.name
    return found


def _home(module: str, name: str) -> tuple[str, str]:
    """Return the module that defines a name, and its name there."""
    seen = set()
    while name in _imported(module) and (module, name) not in seen:
        seen.add((module, name))
        module, name = _imported(module)[name]
    return module, name


def named_in(module: str, name: str) -> Name | None:
    """Return the public name that a name in the source of a module of ours stands for."""
    if not module.startswith("ppvae"):
        return None
    home, original = _home(module, name)
    return names().get(f"{home}.{original}")


def groups(room: str) -> Iterable[tuple[str, list[Name]]]:
    """Group the names of a room by the inner room that they come from, with its first sentence.

    Names of the room itself come first.
    """
    prefix = f"{room}." if room != "ppvae" else "-"
    found: dict[str, list[Name]] = {"": []}
    inner = [other for other in rooms() if other.startswith(prefix)]
    for name in public(room):
        title = next((other for other in inner if name.home.startswith(f"{other}.")), "")
        found.setdefault(title, []).append(name)
    for title, members in found.items():
        if members:
            yield first_sentence(importlib.import_module(title)) if title else "", members


def first_sentence(value: Any) -> str:
    """Return the first paragraph of a docstring, in one line."""
    return " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())
