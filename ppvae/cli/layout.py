"""How texts are laid out on the screen."""

import os
import shutil
import sys
import textwrap


def width() -> int:
    """Return how many columns a text has: those of the terminal, 100 at most and without one."""
    return min(100, max(40, shutil.get_terminal_size((100, 24)).columns))


def wrapped(text: str) -> str:
    """Return a text whose long lines are broken, each part but the first indented."""
    lines = [textwrap.wrap(line, width(), subsequent_indent="  ") for line in text.splitlines()]
    return "\n".join(part for parts in lines for part in parts)


def hanging(
    title: str, text: str, indent: int, most: int | None = None, more: str = "..."
) -> list[str]:
    """Return lines with a title on the left and a text on the right.

    Args:
        title: what the text is about.
        text: the text.
        indent: the column where the text begins.
        most: number of its lines at most.
        more: what the last of these ends in if there is more.

    Example:
        >>> hanging("data", "digits", 8)
        ['data    digits']
        >>> hanging("data", "digits " * 20, 8, 1, more="see " + "/far" * 40)[0][-8:]
        'gits ...'
    """
    room = width() - indent
    more = more if len(more) < room // 2 else "..."  # such as a long path
    if len(title) >= indent - 1:
        below = textwrap.wrap(
            text, room, max_lines=most, placeholder=f" {more}", break_on_hyphens=False
        )
        beside = most == 1 and len(title) + 2 + len(text) <= width()
        return [f"{title}  {text}"] if beside else [title, *(" " * indent + row for row in below)]
    return textwrap.wrap(
        text,
        width(),
        initial_indent=title.ljust(indent),
        subsequent_indent=" " * indent,
        max_lines=most,
        placeholder=f" {more}",
        break_on_hyphens=False,
    ) or [title]


def show(text: str) -> None:
    """Print a text, also where its reader, such as a pager, wants no more of it."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is flushed at exit
