"""Pages that the build writes before it reads them."""

from collections.abc import Mapping
from pathlib import Path


def write_pages(folder: Path, texts: Mapping[str, str], pattern: str) -> None:
    """Write the files that have changed, and remove others of the pattern.

    Sphinx reads a page anew that has been written since; so one that is the same is left as it is.
    """
    for path in folder.glob(pattern):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
