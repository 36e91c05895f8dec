"""The command line: `ppvae fit`, `ppvae diagnose` and `ppvae sample`."""

import os
import sys
import warnings
from collections.abc import Sequence

from ppvae.cli import errors
from ppvae.cli.first_look import look

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0; 1 if training diverged or an error came up that may be a bug; 2 on bad input; 130 if
        interrupted before there was a result.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    # A module of the user's own is found in the folder where the command is called.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        seen = look(words)
        # Imported only now: the parser needs torch, a wrong word does not.
        from ppvae.cli import parsing

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="not compiled")  # it is printed anyway
            return parsing.execute(seen)
    except KeyboardInterrupt:
        return errors.complain("interrupted", code=errors.INTERRUPTED)
    except Exception as error:
        return errors.report(error, traced="--traceback" in words)
