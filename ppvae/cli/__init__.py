"""The command line: `ppvae fit`, `ppvae diagnose` and `ppvae sample`."""

import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from ppvae.cli import errors, jointly
from ppvae.cli.first_look import look

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0; 1 if training diverged or an error came up that may be a bug; 2 on bad input; 130 if
        interrupted, 143 or 129 if SIGTERM or SIGHUP ended a training.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    # Only then: any library looks for optional modules, which a stranger's folder may hold.
    if _name_a_module_here(words) and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        seen = look(words)
        # Imported only now: the parser needs torch, a wrong word does not.
        from ppvae.cli import parsing

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="not compiled")  # it is printed anyway
            if jointly.rank() and seen.command != "fit":
                return 0
            with jointly.first_alone_speaks():
                return parsing.execute(seen)
    except KeyboardInterrupt:
        return errors.complain("interrupted", code=errors.INTERRUPTED)
    except Exception as error:
        return errors.report(error, traced="--traceback" in words)


def _name_a_module_here(words: Sequence[str]) -> bool:
    """Tell whether words name a module of the user's own in the present folder."""
    if any(word.partition("=")[0].rstrip("+") == "--trust" for word in words):
        return True
    files = (".npy", ".npz", ".csv", ".yaml", ".yml")
    text = " ".join(word for word in words if not word.endswith(files))
    names = re.findall(r"(?<![\w.])([^\W\d]\w*)\.[^\W\d]", text)
    return any(Path(f"{name}.py").exists() or Path(name).is_dir() for name in names)
