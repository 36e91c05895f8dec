"""Shows docstrings and signatures as they are written, and finds public names by any path."""

from typing import Any

from docutils import nodes
from sphinx.addnodes import desc, desc_signature, pending_xref, pending_xref_condition
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from .entries import public_bases
from .faces import named_in, names, rooms
from .links import links_of, resolved
from .plain_text import as_rest
from .signatures import signature


def docstring(
    app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Write a docstring as reStructuredText."""
    room = next((room for room in reversed(rooms()) if name.startswith(f"{room}.")), "ppvae")
    lines[:] = as_rest(lines, links_of(room, getattr(value, "__module__", None) or "", own=name))


def written_signature(
    app: Sphinx, what: str, name: str, value: Any, options: Any, arguments: Any, result: Any
) -> tuple[str, str | None] | None:
    """Show a signature as it is written."""
    return signature(value)


def shown_bases(app: Sphinx, name: str, value: Any, options: Any, bases: list[Any]) -> None:
    """Link the public bases of a class and name those of other libraries; leave out the rest."""
    bases[:] = public_bases(value)


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
    app.connect("autodoc-process-docstring", docstring, priority=400)
    app.connect("autodoc-process-signature", written_signature)
    app.connect("autodoc-process-bases", shown_bases)
    app.connect("doctree-read", link_types)
    app.connect("missing-reference", find)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
