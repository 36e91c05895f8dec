"""One file, and what should become of it."""

import importlib.util
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

KINDS = ("real", "positive", "count", "proportion", "binary", "category", "date")


@dataclass(frozen=True)
class Fit:
    """The file is read and a pair can be trained on it.

    Args:
        rows: how many rows there are.
        kinds: the columns of each kind; empty where the file is no table.
        others: whether there may be columns besides, of any kind.
        aside: columns that are left out, each with a word of the reason.
        said: words that the notes must hold.
        missing: how many cells are missing; not looked at if none.
        cells: what stands in some rows and columns, as read.
    """

    rows: int
    kinds: Mapping[str, Sequence[str]] = field(default_factory=dict)
    others: bool = False
    aside: Mapping[str, str] = field(default_factory=dict)
    said: Sequence[str] = ()
    missing: int | None = 0


@dataclass(frozen=True)
class Refused:
    """The file is refused in one sentence.

    Args:
        words: words that the sentence must hold, which say what is wrong and what to do.
    """

    words: Sequence[str]


@dataclass(frozen=True)
class Case:
    """A file.

    Args:
        name: what is special about it.
        write: writes it into a folder and returns its path.
        expected: what should become of it.
        options: arguments of the reader.
        needs: packages without which there is nothing to try.
    """

    name: str
    write: Callable[[Path], Path]
    expected: Fit | Refused
    options: Mapping[str, object] = field(default_factory=dict)
    needs: Sequence[str] = ()

    @property
    def lacks(self):
        """The packages that are needed and not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


def fit(
    rows, *, others=False, aside=None, said=(), missing=0, **kinds: str | Sequence[str]
) -> Fit:
    """Return an expected fit; names of columns without spaces stand in one text."""
    unknown = set(kinds) - set(KINDS)
    assert not unknown, unknown
    split = {k: tuple(v.split() if isinstance(v, str) else v) for k, v in kinds.items()}
    said = (said,) if isinstance(said, str) else tuple(said)
    return Fit(rows, split, others, aside or {}, said, missing)


def refused(*words: str) -> Refused:
    """Return an expected refusal."""
    return Refused(words)


def text(name: str, content: str | bytes, encoding: str = "utf-8") -> Callable[[Path], Path]:
    """Return what writes a text as it stands."""

    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write


def shipped(package: str, *parts: str) -> Callable[[Path], Path]:
    """Return what copies a file that comes with a package; the package is not imported."""

    def write(folder: Path) -> Path:
        found = importlib.util.find_spec(package)
        assert found is not None and found.origin is not None, package
        return Path(shutil.copy(Path(found.origin).parent.joinpath(*parts), folder))

    return write
