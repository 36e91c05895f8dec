"""How progress bars show themselves."""

from typing import Any


def tqdm_options(progress: bool | None) -> dict[str, Any]:
    """Return what `tqdm` needs to know for the `progress` argument of a diagnostic.

    None shows a bar on a terminal alone; what ends within three seconds needs none at all.
    """
    disable = None if progress is None else not progress
    return {"disable": disable, "delay": 3, "leave": False}
