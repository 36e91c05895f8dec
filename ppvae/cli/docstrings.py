"""What a docstring says of a function: what it does, its arguments, an example."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_SECTION = re.compile(r"(\w[\w ]*):$")
_ARGUMENT = re.compile(r"(\*{0,2}\w+)(?: \([^)]*\))?: ?(.*)$")


@dataclass(frozen=True)
class Docstring:
    """The parts of a docstring.

    Args:
        summary: its first paragraph.
        more: the paragraphs after it, up to the first section.
        arguments: what is said of each argument.
        example: the first line of its example.
    """

    summary: str = ""
    more: str = ""
    arguments: dict[str, str] = field(default_factory=dict)
    example: str = ""


def docstring_of(described: Callable[..., Any]) -> Docstring:
    """Return the parts of the docstring of a function, or of a class.

    Example:
        >>> docstring_of(docstring_of).summary
        'Return the parts of the docstring of a function, or of a class.'
    """
    about: list[str] = []
    sections: dict[str, list[str]] = {}
    into = about
    for line in (inspect.getdoc(described) or "").splitlines():
        titled = _SECTION.match(line)
        into = sections.setdefault(titled[1], []) if titled else into
        if titled is None:
            into.append(line)
    paragraphs = ["".join(f"{line} " for line in part.splitlines()) for part in _paragraphs(about)]
    examples = [line.strip() for line in sections.get("Example", []) if line.strip()]
    return Docstring(
        summary=paragraphs[0].strip() if paragraphs else "",
        more="\n\n".join(part.strip() for part in paragraphs[1:]),
        arguments=_arguments(sections.get("Args", [])),
        example=examples[0] if examples else "",
    )


def _paragraphs(lines: list[str]) -> list[str]:
    return [part for part in "\n".join(lines).split("\n\n") if part.strip()]


def _arguments(lines: list[str]) -> dict[str, str]:
    """Return the texts of arguments, which begin at the least indentation."""
    filled = [line for line in lines if line.strip()]
    least = min((len(line) - len(line.lstrip()) for line in filled), default=0)
    found: dict[str, str] = {}
    name = ""
    for line in filled:
        begun = _ARGUMENT.match(line[least:])
        if begun is not None:
            name = begun[1].lstrip("*")
            found[name] = begun[2]
        elif name:
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found
