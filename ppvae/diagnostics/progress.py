"""Options of progress bars."""

from typing import Any

from ppvae.engine import bar_options


def tqdm_options(progress: bool | None) -> dict[str, Any]:
    """Return the options of `tqdm` for the `progress` argument of a diagnostic.

    None shows a bar only on a terminal and in a notebook. A bar appears after three seconds.
    """
    return {**bar_options(progress), "delay": 3, "leave": False}
