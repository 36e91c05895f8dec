"""The command line in one of several processes, as `torchrun` starts them.

All of them train; the first one alone prints, writes and measures.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import ppvae

if TYPE_CHECKING:
    from ppvae.engine import Processes
    from ppvae.reports import Run


def rank() -> int:
    """Return the number of this process, 0 if it is alone; without importing torch."""
    return int(os.environ.get("RANK", "0")) if "TORCHELASTIC_RUN_ID" in os.environ else 0


@contextlib.contextmanager
def first_alone_speaks() -> Iterator[None]:
    """Print nothing to standard output inside the block, but in the first process."""
    if rank() == 0:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def run_of(
    processes: "Processes", folder: Path | None, create: "Callable[[], Run]"
) -> "tuple[Run, bool]":
    """Return the run of a training, and whether it goes on with one that was there.

    The first process makes the folder. Where `torchrun --max-restarts` has started the processes
    again, it is the folder of their last attempt.

    Args:
        processes: those that train.
        folder: the folder that was asked for, if any.
        create: makes a new run.
    """
    if not processes.several:
        return create(), False
    job = f"{os.environ.get('TORCHELASTIC_RUN_ID')}-{os.getppid()}"
    place, again = "", False
    if processes.first:
        run = _last_attempt(folder, job) if _restarted() else None
        again = run is not None
        run = run or create()
        run.write_job(job)
        place = str(run.folder)
    place, again = processes.of_first((place, again))
    return ppvae.reports.Run(Path(place)), again


def _restarted() -> bool:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def _last_attempt(folder: Path | None, job: str) -> "Run | None":
    folders = [folder] if folder is not None else sorted(Path("runs").glob("*"))
    for place in folders:
        if place.is_dir() and (run := ppvae.reports.Run(place)).job == job:
            return ppvae.reports.Run.resume(run.folder)
    return None
