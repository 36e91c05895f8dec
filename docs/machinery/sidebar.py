"""The contents beside a page: opened where the page stands, and closed elsewhere.

Hundreds of names beside each of hundreds of pages are slow to write, to load and to look through.
"""

from typing import Any

from sphinx.application import Sphinx


def close_others(
    app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any
) -> None:
    """Let the theme's contents be collapsed, and give their captions the level of headings."""
    whole = context.get("toctree")
    if whole is None:
        return

    def closed(**options: Any) -> str:
        written = str(whole(**{**options, "collapse": True}))
        return written.replace('role="heading"', 'role="heading" aria-level="2"')

    context["toctree"] = closed


def setup(app: Sphinx) -> dict[str, bool]:
    """Come before the theme, which asks for the contents."""
    app.connect("html-page-context", close_others, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
