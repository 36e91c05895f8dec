"""A page as one HTML file that needs nothing else, and asks no network for anything."""

import base64
import hashlib
from functools import cache
from importlib.metadata import version
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from ppvae.reports.page.contents import Page


def rendered(page: Page) -> str:
    """Return a page as HTML; whatever its texts hold, they are shown as text.

    Example:
        >>> from ppvae.reports.page.contents import Lead
        >>> "&lt;b&gt;" in rendered(Page("<b>", "", Lead("Nothing was measured.", "unknown"), ()))
        True
    """
    style, script = _asset("page.css"), _asset("sorting.js")
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src 'sha256-{_digest(style)}'; script-src 'sha256-{_digest(script)}'"
    )
    html = (
        _environment()
        .get_template("page.html.jinja")
        .render(
            page=page,
            style=Markup(style),
            script=Markup(script),
            policy=policy,
            version=version("ppvae"),
        )
    )
    return html.lstrip()  # macros leave lines behind


def _marked(text: str) -> Markup:
    """Return a text as HTML, what stands between backticks as code."""
    *pairs, last = text.split("`")
    if len(pairs) % 2:  # a backtick without another
        return escape(text)
    parts = [
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate([*pairs, last])
    ]
    return Markup("").join(parts)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["marked"] = _marked
    return environment


def _asset(name: str) -> str:
    return (files("ppvae.reports.page") / "templates" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
