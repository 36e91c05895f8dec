"""The text of the reference: a page of each room, and of each public name."""

import ast
import importlib
import inspect
from collections.abc import Iterable
from typing import Any

from ppvae.cli import help as texts
from ppvae.cli.commands import COMMANDS

from .faces import FOR_USERS, Name, first_sentence, groups, names, public, rooms
from .links import links_of
from .plain_text import as_rest


def pages() -> dict[str, str]:
    """Return the text of each page of the folder by its name."""
    written = {"inside": _inside()}
    for room in rooms():
        written[room] = _room(room)
        for page, members in _by_page(room).items():
            written[page] = _title(members[0].full) + "\n".join(map(_entry, members))
    return written


def _title(text: str, line: str = "=") -> str:
    return f"{text}\n{line * len(text)}\n\n"


def page_of(name: Name) -> str:
    """Return the page on which a name is documented.

    Names that differ in capital letters alone share a page: some file systems do not tell them
    apart.
    """
    if name.room not in FOR_USERS:
        return name.room
    alike = [other for other in _own(name.room) if other.name.lower() == name.name.lower()]
    return name.full if len(alike) == 1 else name.full.lower()


def _own(room: str) -> list[Name]:
    return [name for name in public(room) if name.room == room]


def _by_page(room: str) -> dict[str, list[Name]]:
    found: dict[str, list[Name]] = {}
    if room in FOR_USERS:
        for name in _own(room):
            found.setdefault(page_of(name), []).append(name)
    return found


def _room(room: str) -> str:
    module = importlib.import_module(room)
    lines = [f".. py:module:: {room}", "", _title(room)]
    lines += [*as_rest(inspect.cleandoc(module.__doc__ or "").splitlines(), links_of(room)), ""]
    for title, members in groups(room):
        if title:
            lines += [f".. rubric:: {as_rest([title.rstrip('.')])[0]}", ""]
        lines += [*_table(members), ""]
    if room in FOR_USERS:
        lines += [
            ".. toctree::",
            "   :hidden:",
            "",
        ]
        lines += [
            f"   {', '.join(name.name for name in members)} <{page}>"
            for page, members in _by_page(room).items()
        ]
    else:
        lines += [_entry(name) for name in _own(room)]
    return "\n".join(lines) + "\n"


def _table(members: Iterable[Name]) -> list[str]:
    lines = [".. list-table::", "   :class: names", ""]
    for name in members:
        lines.append(f"   * - :py:obj:`{name.name} <{name.full}>`")
        lines.append("     - " + as_rest([_summary(name)], links_of(name.room, name.home))[0])
    return lines


def _summary(name: Name) -> str:
    if _is_documented_by_itself(name.value):
        return first_sentence(name.value)
    return " ".join(_comment(name).split("\n\n")[0].split()) or f"`{_value(name)}`"


def _is_documented_by_itself(value: Any) -> bool:
    return inspect.isclass(value) or inspect.isfunction(value)


def _comment(name: Name) -> str:
    """Return what is written below a constant."""
    _, below = _assigned(name)
    return below


def _value(name: Name) -> str:
    """Return how a constant is written in the source."""
    value, _ = _assigned(name)
    return value or repr(name.value)


def _assigned(name: Name) -> tuple[str, str]:
    """Return the value of a constant in the source, and the text below it."""
    body = ast.parse(inspect.getsource(importlib.import_module(name.home))).body
    for node, below in zip(body, [*body[1:], None], strict=True):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if not any(isinstance(t, ast.Name) and t.id == name.original for t in targets):
            continue
        text = ""
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            text = inspect.cleandoc(str(below.value.value))
        value = getattr(node, "value", None)
        return " ".join(ast.unparse(value).split()) if value else "", text
    return "", ""


def _entry(name: Name) -> str:
    if _is_documented_by_itself(name.value):
        kind = "class" if inspect.isclass(name.value) else "function"
        lines = [f".. auto{kind}:: {name.full}", ""]
        lines[1:1] = ["   :members:"] if kind == "class" else []
        lines[2:2] = (
            ["   :show-inheritance:"] if kind == "class" and public_bases(name.value) else []
        )
    else:
        lines = [
            f".. py:currentmodule:: {name.room}",
            "",
            f".. py:data:: {name.name}",
            f"   :value: {_value(name)}",
            "",
        ]
        lines += [
            f"   {line}"
            for line in as_rest(_comment(name).splitlines(), links_of(name.room, name.home))
        ]
    return "\n".join([*lines, ""])


def _inside() -> str:
    inner = [room for room in rooms() if room not in FOR_USERS]
    lines = [_title("Inside"), "Rooms for those who change the library.", ""]
    lines += [".. list-table::", "   :class: names", ""]
    for room in inner:
        lines.append(f"   * - :py:mod:`{room}`")
        lines.append("     - " + as_rest([first_sentence(importlib.import_module(room))])[0])
    lines += ["", ".. toctree::", "   :hidden:", "", *(f"   {room}" for room in inner)]
    return "\n".join(lines) + "\n"


def command_line() -> str:
    """Return the page of the command line, written by the program itself."""
    lines = ["# The command line", "", "What `ppvae COMMAND --help-all` prints.", ""]
    for title, text in (
        ("ppvae", texts.help_of_program()),
        *((f"ppvae {command}", texts.help_of_command(command, True)) for command in COMMANDS),
    ):
        lines += [f"## {title}", "", "```text", *text.splitlines(), "```", ""]
    return "\n".join(lines)


def public_bases(value: Any) -> list[str]:
    """Return the public bases of a class as links, and the names of those of other libraries."""
    shown = []
    for base in value.__bases__:
        full = f"{base.__module__}.{base.__qualname__}"
        public = names().get(full)
        if public is not None:
            shown.append(f":py:obj:`{base.__name__} <{public.full}>`")
        elif base is not object and not full.startswith(("ppvae.", "abc.", "typing.")):
            shown.append(f"``{full}``")
    return shown
