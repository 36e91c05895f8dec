"""`python -m tests.corpus [WORDS]`: what becomes of each file whose name holds a word."""

import logging
import sys
import tempfile
import time
from pathlib import Path

from tests.corpus import CASES
from tests.corpus.reading import read_faults
from tests.corpus.training import run


def main(words):
    """Print a line for each file; return how many came out otherwise than expected."""
    logging.disable(logging.WARNING)
    wrong, tried, start = 0, 0, time.perf_counter()
    for case in CASES:
        if words and not any(word in case.name for word in words):
            continue
        if case.lacks:
            print(f"{case.name:45} skipped: needs {', '.join(case.lacks)}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            first, second = Path(folder, "first"), Path(folder, "second")
            first.mkdir()
            second.mkdir()
            outcome = run(case, second)
            faults = [*read_faults(case, first), *outcome.faults]
        tried += 1
        wrong += bool(faults)
        print(f"{case.name:45} {'WRONG  ' if faults else ''}{outcome.summary}", flush=True)
        for fault in faults:
            print(f"    {fault.replace(f'{folder}/', '')}")
    seconds = time.perf_counter() - start
    print(f"{tried - wrong} of {tried} files came out as expected, {seconds:.0f} s")
    return wrong


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
