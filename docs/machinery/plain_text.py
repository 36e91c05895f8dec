"""Docstrings are plain text with formulas: as reStructuredText that shows them as written."""

import re
from collections.abc import Callable, Iterable, Sequence

HEADERS = ("Args:", "Attributes:", "Raises:", "Returns:", "Yields:", "Example:")
Links = Callable[[str], str | None]
"""Returns the full name of what a piece of code names, or None."""


def no_links(code: str) -> None:
    """Name nothing."""


def as_rest(lines: Iterable[str], links: Links = no_links) -> list[str]:
    r"""Write a docstring as reStructuredText, for napoleon to read its sections.

    What stands between single backticks is code, and a link where it names something public; an
    indented paragraph is a formula; all other characters stand for themselves.

    Example:
        >>> as_rest(["p(x|z) of shape `(*, data)`."])
        ['p(x\\|z) of shape ``(*, data)``.']
    """
    written: list[str] = []
    section, base = "", 0
    for paragraph in _paragraphs(lines):
        first = paragraph[0]
        indent = len(first) - len(first.lstrip())
        if first.strip() in HEADERS and indent == 0:
            section, base = first.strip(), 4
            written += [":returns:" if section == "Returns:" else section]
            paragraph, indent = paragraph[1:], 4
            if not paragraph:
                continue
        elif indent == 0:
            section = ""
        if paragraph[0].lstrip().startswith(">>>"):
            written += paragraph
        elif indent > base:
            written += [" " * base + "::", "", *paragraph]
        else:
            base = indent
            items = section in ("Args:", "Attributes:", "Raises:") and indent
            written += _prose(paragraph, links, bool(items))
        written.append("")
    return written[:-1] if written else written


def _paragraphs(lines: Iterable[str]) -> Iterable[list[str]]:
    """Split lines at empty ones, and where an item of a section begins after a longer indent."""
    paragraph: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            paragraph.append(line)
        elif paragraph:
            yield paragraph
            paragraph = []


def _prose(lines: Sequence[str], links: Links, items: bool) -> list[str]:
    """Write a paragraph; of items, a name and a colon at the start of a line stay as they are."""
    text = "\n".join(lines)
    parts = re.split(r"(`+[^`]+`+)", text)
    return "".join(
        _code(part.strip("`"), links) if place % 2 else _escaped(part, items)
        for place, part in enumerate(parts)
    ).split("\n")


def _code(code: str, links: Links) -> str:
    name = links(code)
    return f":py:obj:`{code} <{name}>`" if name else f"``{code}``"


def _escaped(text: str, items: bool) -> str:
    """Escape what reStructuredText would read as markup."""
    if items:
        named = re.compile(r"(^ {4}\*{0,2}\w[\w.]*:(?= |$))", re.M)
        parts = named.split(text)
        return "".join(
            part if place % 2 else _escaped(part, False) for place, part in enumerate(parts)
        )
    return re.sub(r"([\\*|]|(?<=\w)_(?!\w))", r"\\\1", text)
