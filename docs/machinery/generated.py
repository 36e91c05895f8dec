"""Pages that the build writes before it reads them."""

from collections.abc import Mapping
from pathlib import Path

from sphinx.application import Sphinx

from . import entries, tutorial


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


def write_reference(app: Sphinx) -> None:
    """Write a page of each room, of each public name and of the command line."""
    texts = {f"{name}.rst": text for name, text in entries.pages().items()}
    texts["command_line.md"] = entries.command_line()
    write_pages(Path(app.srcdir) / "reference", texts, "*.rst")


def write_tutorial(app: Sphinx) -> None:
    """Write a page of each step of the tutorial."""
    texts = {f"{name}.md": text for name, text in tutorial.pages().items()}
    write_pages(Path(app.srcdir) / "tutorial", texts, "step*.md")


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages before any is read."""
    if "machinery.reference" in app.config.extensions:
        app.connect("builder-inited", write_reference)
    app.connect("builder-inited", write_tutorial)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
