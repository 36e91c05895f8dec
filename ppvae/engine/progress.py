"""Progress bars: on a terminal and in a notebook, unless asked for or not."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm


def progress_bar(
    iterable: Iterable[Any] | None = None,
    *,
    progress: bool | None,
    delay: float = 3,
    **options: Any,
) -> Any:
    """Return a progress bar of `tqdm.auto`, which goes away when it is done.

    In a notebook it is one of widgets or, without the package ipywidgets, one of text.

    Args:
        iterable: what is passed over, if anything.
        progress: whether the bar is shown; None shows it on a terminal and in a notebook only.
        delay: seconds after which it appears.
        options: those of `tqdm`.
    """
    options = {"leave": False, "delay": delay, **options}
    if in_notebook() and progress is not False:
        options |= {"file": sys.stdout}  # what goes to stderr is colored as errors
    else:
        options |= {"disable": None if progress is None else not progress}
    return tqdm(iterable, **options)


def in_notebook() -> bool:
    """Tell whether this process answers a notebook, as a kernel of IPython does."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})
