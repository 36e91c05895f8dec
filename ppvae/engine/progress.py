"""Progress bars: on a terminal and in a notebook, unless asked for or not."""

import importlib.util
import sys
from typing import Any

import tqdm


def bar_class(progress: bool | None) -> Any:
    """Return the class of a progress bar: a notebook's own, where that can be shown.

    Elsewhere it is one of text, also in a notebook without the package ipywidgets.
    """
    if progress is False or not in_notebook() or importlib.util.find_spec("ipywidgets") is None:
        return tqdm.tqdm
    from tqdm import notebook

    return tqdm.tqdm if notebook.IProgress is None else notebook.tqdm


def bar_options(progress: bool | None) -> dict[str, Any]:
    """Return the options of a progress bar for an argument `progress`.

    None shows a bar on a terminal and in a notebook only.
    """
    if in_notebook() and progress is not False:
        return {"disable": False, "file": sys.stdout}  # what goes to stderr is colored as errors
    return {"disable": None if progress is None else not progress}


def in_notebook() -> bool:
    """Tell whether this process answers a notebook, as a kernel of IPython does."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})
