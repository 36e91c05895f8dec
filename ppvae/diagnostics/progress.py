"""Options of progress bars."""

from typing import Any


def tqdm_options(progress: bool | None) -> dict[str, Any]:
    """Return the options of `tqdm` for the `progress` argument of a diagnostic.

    None shows a bar only on a terminal. A bar appears after three seconds.
    """
    disable = None if progress is None else not progress
    return {"disable": disable, "delay": 3, "leave": False}
