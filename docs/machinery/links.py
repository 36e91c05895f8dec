"""What the code in a docstring names, where it names something public."""

import inspect

from .faces import Name, named_in, names
from .plain_text import Links


def links_of(room: str, home: str = "", own: str = "") -> Links:
    """Return what finds a public name in the code of a docstring.

    Args:
        room: where the docstring is shown.
        home: the module that holds it, whose imports it may name.
        own: the full name that it belongs to, which needs no link.
    """

    def link(code: str) -> str | None:
        head = code.removesuffix("()")
        if not head.replace(".", "").replace("_", "").isalnum():
            return None
        if "." not in head and not head[0].isupper():
            return None  # `weights` or `data` are arguments as a rule
        name = resolved(head, room, home)
        return None if name is None or name == own or own.startswith(f"{name}.") else name

    return link


def resolved(target: str, room: str = "ppvae", home: str = "") -> str | None:
    """Return the full name of what a dotted name stands for, from outside, in a room or module."""
    known = names()
    for start in (target, f"{room}.{target}", f"ppvae.{target}"):
        head, rest = start, ""
        while "." in head:
            if head in known:
                return _with_member(known[head], rest)
            head, _, last = head.rpartition(".")
            rest = f".{last}{rest}"
    first, dot, rest = target.partition(".")
    found = named_in(home, first) if home else None
    return _with_member(found, dot + rest) if found else None


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
