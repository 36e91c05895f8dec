"""Small tables for notebooks."""

import html
import zlib
from collections.abc import Iterable, Sequence

_STYLES = [
    {"selector": "caption", "props": "text-align: left; font-weight: bold; padding: 0.5em 0"},
    {"selector": "th, td", "props": "text-align: left; vertical-align: top; padding: 0 1em 0 0"},
    {"selector": "td", "props": "white-space: pre-wrap"},
]


def html_table(
    title: str, rows: Iterable[Sequence[str]], header: Sequence[str] = (), code: str = ""
) -> str:
    """Return a table as HTML, with every text escaped; the first cell of a row heads it.

    Args:
        title: what stands above it.
        rows: of texts, as many in each.
        header: what heads the columns but the first; nothing unless given.
        code: the column whose cells are code.

    Example:
        >>> "&lt;b&gt;" in html_table("Names", [("first", "<b>")])
        True
    """
    import pandas
    from pandas.io.formats.style import Styler

    rows = list(rows)
    first, *others = zip(*rows, strict=True) if rows else [()] * (1 + len(header))
    names = header or range(len(others))
    frame = pandas.DataFrame(dict(zip(names, others, strict=True)), index=first)
    # Its name within a page: the same table has the same name, so that pages can be compared.
    name = f"{zlib.crc32(repr(rows).encode()):x}"
    styler = Styler(frame, uuid=name, caption=html.escape(title), cell_ids=False)
    styler.format(escape="html")
    for axis in ("index", "columns"):
        styler.format_index(axis=axis, escape="html")
    styler.set_table_styles(_STYLES)
    if code:
        of_code = [{"selector": "td", "props": "font-family: monospace"}]
        styler.set_table_styles({code: of_code}, overwrite=False)
    text: str = (styler if header else styler.hide(axis="columns")).to_html()
    return text
