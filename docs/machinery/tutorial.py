"""The tutorial as pages: one a step, written by running it."""

import importlib
import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp

from matplotlib.figure import Figure

ROOT = Path(__file__).parent.parent.parent
PAGE = """---
file_format: mystnb
kernelspec:
  name: python3
---
# {number}. {title}

```{{code-cell}} ipython3
---
tags: [remove-input]
mystnb:
  image:
    alt: "Figure of step {number}: {title}. The text above it says what is seen."
---
from machinery.tutorial import show

show("{name}")
```

## The code of this step

`python -m examples.tutorial figures 1 {number}` runs it and prints what stands above.

<details>
<summary><code>examples/tutorial/{name}.py</code></summary>

```{{literalinclude}} ../../examples/tutorial/{name}.py
:language: python
```

</details>
"""


def pages() -> dict[str, str]:
    """Return the text of each page by the name of its step."""
    written = {}
    for path in sorted((ROOT / "examples" / "tutorial").glob("step*.py")):
        title = path.read_text().partition('"""')[2].partition("\n")[0].rstrip(".")
        number = int(path.stem[4:6])
        written[path.stem] = PAGE.format(number=number, title=title, name=path.stem)
    return written


def show(name: str) -> None:
    """Run a step, and show its words, tables and figures as they come."""
    from examples.tutorial import page

    page.begin, page.say, page.table, page.draw = _begin, _say, _table, _draw
    importlib.import_module(f"examples.tutorial.{name}").show(Path(mkdtemp()), 1.0)


def as_markdown(text: str) -> str:
    r"""Write plain text as Markdown: indented paragraphs are formulas, all else is as written.

    Example:
        >>> print(as_markdown("z_1 and `x`"))
        z\_1 and `x`
    """
    written = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith(" "):
            written.append(f"```text\n{inspect.cleandoc(paragraph)}\n```")
        else:
            written.append(_escaped(" ".join(paragraph.split())))
    return "\n\n".join(written)


def _escaped(text: str) -> str:
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(
        part if place % 2 else re.sub(r"([\\*_|<>\[\]#$^~{}])", r"\\\1", part)
        for place, part in enumerate(parts)
    )


def _begin(number: int, text: str) -> None:
    _say(inspect.cleandoc(text).partition("\n")[2])


def _say(text: str) -> None:
    _display(as_markdown(text))


def _table(header: Sequence[str], *rows: Sequence[object]) -> None:
    lines = [[_escaped(str(cell)) for cell in line] for line in (header, *rows)]
    sides = [":--", *["--:"] * (len(header) - 1)]
    _display("\n".join(f"| {' | '.join(line)} |" for line in (lines[0], sides, *lines[1:])))


def _draw(figure: Figure, folder: Path, name: str) -> None:
    from IPython.display import display

    from .examples import shown

    display(shown(figure))


def _display(text: str) -> None:
    from IPython.display import Markdown, display

    display(Markdown(text))
