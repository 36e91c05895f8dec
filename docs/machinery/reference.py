"""The reference: a page of each room, and of each public name, written from the docstrings."""

import ast
import importlib
import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import desc, desc_signature, pending_xref, pending_xref_condition
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer

from ppvae.cli import help as texts
from ppvae.cli.commands import COMMANDS

from .faces import FOR_USERS, Name, first_sentence, groups, named_in, names, public, rooms
from .generated import write_pages
from .plain_text import Links, as_rest
from .signatures import signature

FOLDER = "reference"
KEPT_BY_HAND = ("index.md",)


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
        lines.append("     - " + as_rest([_summary(name)], links_of(name.room))[0])
    return lines


def _summary(name: Name) -> str:
    if _is_documented_by_itself(name.value):
        return first_sentence(name.value)
    return " ".join(_comment(name).split("\n\n")[0].split()) or f"`{_value(name)}`"


def _is_documented_by_itself(value: Any) -> bool:
    return inspect.isclass(value) or inspect.isfunction(value)


def _comment(name: Name) -> str:
    """Return what is written below a constant."""
    analyzer = ModuleAnalyzer.for_module(name.home)
    return "\n".join(analyzer.find_attr_docs().get(("", name.original), ())).strip()


def _value(name: Name) -> str:
    """Return how a constant is written in the source."""
    source = inspect.getsource(importlib.import_module(name.home))
    for node in _statements(source):
        if node.startswith((f"{name.original} =", f"{name.original}:")):
            return node.partition("=")[2].strip()
    return repr(name.value)


def _statements(source: str) -> Iterable[str]:
    return (" ".join(ast.unparse(node).split()) for node in ast.parse(source).body)


def _entry(name: Name) -> str:
    if _is_documented_by_itself(name.value):
        kind = "class" if inspect.isclass(name.value) else "function"
        lines = [f".. auto{kind}:: {name.full}", ""]
        lines[1:1] = ["   :members:"] if kind == "class" else []
        lines[2:2] = ["   :show-inheritance:"] if kind == "class" and _bases(name.value) else []
    else:
        lines = [
            f".. py:currentmodule:: {name.room}",
            "",
            f".. py:data:: {name.name}",
            f"   :value: {_value(name)}",
            "",
        ]
        lines += [
            f"   {line}" for line in as_rest(_comment(name).splitlines(), links_of(name.room))
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


def links_of(room: str, own: str = "") -> Links:
    """Return what finds a public name in the code of a docstring of a room, but for its own."""

    def link(code: str) -> str | None:
        head = code.removesuffix("()")
        if not head.replace(".", "").replace("_", "").isalnum():
            return None
        if "." not in head and not head[0].isupper():
            return None  # `weights` or `data` are arguments as a rule
        name = resolved(head, room)
        return None if name is None or name == own or own.startswith(f"{name}.") else name

    return link


def resolved(target: str, room: str = "ppvae") -> str | None:
    """Return the full name of a target by any of its names, from the outermost or as in a room."""
    known = names()
    for start in (target, f"{room}.{target}", f"ppvae.{target}"):
        head, rest = start, ""
        while "." in head:
            if head in known:
                return _with_member(known[head], rest)
            head, _, last = head.rpartition(".")
            rest = f".{last}{rest}"
    first, _, rest = target.partition(".")
    found = {name.full: name for name in known.values() if name.name == first}
    if len(found) != 1:
        return None
    return _with_member(*found.values(), f".{rest}" if rest else "")


def _with_member(name: Name, rest: str) -> str | None:
    """Return the full name of a member that has an entry, else None."""
    if not rest:
        return name.full
    if not inspect.isclass(name.value):
        return None
    member = inspect.getattr_static(name.value, rest[1:], None)
    own = rest[1:] in vars(name.value) and (
        inspect.isroutine(member) or isinstance(member, property)
    )
    return name.full + rest if own and getattr(member, "__doc__", None) else None


def write(app: Sphinx) -> None:
    """Write the pages that have changed, and remove those of names that are gone."""
    folder = Path(app.srcdir) / FOLDER
    written = {f"{name}.rst": text for name, text in pages().items()}
    write_pages(folder, {**written, "command_line.md": command_line()}, "*.rst")


def docstring(
    app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Write a docstring as reStructuredText."""
    room = next((room for room in reversed(rooms()) if name.startswith(f"{room}.")), "ppvae")
    lines[:] = as_rest(lines, links_of(room, own=name))


def written_signature(
    app: Sphinx, what: str, name: str, value: Any, options: Any, arguments: Any, result: Any
) -> tuple[str, str | None] | None:
    """Show a signature as it is written."""
    return signature(value)


def shown_bases(app: Sphinx, name: str, value: Any, options: Any, bases: list[Any]) -> None:
    """Link the public bases of a class and name those of other libraries; leave out the rest."""
    bases[:] = _bases(value)


def _bases(value: Any) -> list[str]:
    shown = []
    for base in value.__bases__:
        full = f"{base.__module__}.{base.__qualname__}"
        public = names().get(full)
        if public is not None:
            shown.append(f":py:obj:`{base.__name__} <{public.full}>`")
        elif base is not object and not full.startswith(("ppvae.", "abc.", "typing.")):
            shown.append(f"``{full}``")
    return shown


def link_types(app: Sphinx, tree: nodes.document) -> None:
    """Link the types in signatures that are public here; leave the others as text."""
    for entry in tree.findall(desc):
        signature = entry.next_node(desc_signature)
        full = f"{signature.get('module')}.{signature.get('fullname')}"
        while "." in full and full not in names():
            full = full.rpartition(".")[0]
        if full not in names():
            continue
        for node in list(entry.findall(pending_xref)):
            if "refwarn" in node:
                continue
            head, dot, _ = node["reftarget"].partition(".")
            found = named_in(names()[full].home, head)
            if found is None or dot:
                node.replace_self(_short(node))
            else:
                node["reftype"], node["reftarget"] = "obj", found.full
                node["refspecific"] = False


def _short(node: pending_xref) -> list[nodes.Node]:
    """Return the text of a type without its module."""
    for child in node.children:
        if isinstance(child, pending_xref_condition) and child.get("condition") == "resolved":
            return child.children
    return node.children


def find(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.Element) -> Any:
    """Find a name by any path under which it can be imported."""
    if node.get("refdomain") != "py":
        return None
    target = resolved(node["reftarget"])
    if target in (None, node["reftarget"]):
        return None
    domain = env.domains["py"]
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the steps of the build."""
    app.connect("builder-inited", write)
    app.connect("autodoc-process-docstring", docstring, priority=400)
    app.connect("autodoc-process-signature", written_signature)
    app.connect("autodoc-process-bases", shown_bases)
    app.connect("doctree-read", link_types)
    app.connect("missing-reference", find)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
