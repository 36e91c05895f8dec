"""What a page holds: sections of texts, tables and pictures. All text is plain, never HTML."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from ppvae.reports.page.tables import Table, Tone


@dataclass(frozen=True)
class Text:
    """A paragraph; what stands between backticks is code.

    Args:
        text: the paragraph.
        quiet: whether it is an explanation beside what matters.
    """

    text: str
    quiet: bool = False
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Code:
    """Lines to copy.

    Args:
        text: the lines.
        label: what they are, for a screen reader.
        tall: whether they are many, and scroll in a box.
    """

    text: str
    label: str
    tall: bool = False
    kind: ClassVar[str] = "code"


@dataclass(frozen=True)
class Formula:
    """Formula (2)."""

    kind: ClassVar[str] = "formula"


@dataclass(frozen=True)
class Listing:
    """A list of short texts."""

    items: tuple[str, ...]
    kind: ClassVar[str] = "listing"


@dataclass(frozen=True)
class Fact:
    """One number or word that a reader looks for.

    Args:
        name: what it is.
        value: it, as text.
        note: what to know of it, such as its error.
        tone: its colour.
    """

    name: str
    value: str
    note: str = ""
    tone: Tone = ""


@dataclass(frozen=True)
class Facts:
    """Facts side by side; large ones are read first."""

    facts: tuple[Fact, ...]
    large: bool = False
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Picture:
    """A figure.

    Args:
        uri: its bytes as a data URI.
        alternative: what it shows, for who does not see it.
        caption: what it means.
        width: in pixels.
        height: in pixels.
    """

    uri: str
    alternative: str
    caption: str
    width: int
    height: int
    kind: ClassVar[str] = "picture"


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Args:
        name: the check.
        word: the verdict.
        tone: its colour.
        answer: what was measured.
        advice: what it means.
        code: what helps, to copy; "" if nothing does.
    """

    name: str
    word: str
    tone: Tone
    answer: str
    advice: str = ""
    code: str = ""


@dataclass(frozen=True)
class Verdicts:
    """What several checks found."""

    verdicts: tuple[Verdict, ...]
    kind: ClassVar[str] = "verdicts"


Block: TypeAlias = Text | Code | Formula | Listing | Facts | Picture | Table | Verdicts


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading.

    Args:
        name: of its address within the page, letters and hyphens only.
        title: the heading.
        blocks: what it holds.
    """

    name: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Lead:
    """What is read first.

    Args:
        sentence: the verdict, in one sentence.
        tone: its colour.
        more: further sentences.
        step: what to do next, in words; "" if nothing is.
        code: the same to copy.
        facts: the numbers behind it.
    """

    sentence: str
    tone: Tone
    more: tuple[str, ...] = ()
    step: str = ""
    code: str = ""
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True)
class Page:
    """A whole page.

    Args:
        title: what it is about.
        subtitle: which data and when.
        lead: the verdict.
        sections: the rest, in order.
    """

    title: str
    subtitle: str
    lead: Lead
    sections: Sequence[Section]
