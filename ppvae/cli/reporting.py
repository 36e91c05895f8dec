"""The command that writes a page about a run, or about several side by side.

Nothing heavy is imported with this module: the rooms of `ppvae` are imported when a command runs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ppvae
from ppvae.cli.chosen import Chosen, opened
from ppvae.cli.layout import wrapped
from ppvae.cli.measuring import Level, Split

if TYPE_CHECKING:
    from torch import nn

    from ppvae.data import Dataset
    from ppvae.reports import Run

FILE = "report.html"
_ENDINGS = (".html", ".htm")


def report(
    chosen: Chosen,
    run: list[Path],
    *,
    split: Split = "test",
    level: Level | None = None,
    draws: int = 1000,
    refine_seconds: float = 5.0,
    output: Path | None = None,
    seed: int = 0,
) -> int:
    """Write one HTML file about a run that says first what can be trusted, or compare several.

    The file holds all that it shows, figures included, and needs no network. What `ppvae fit`,
    `ppvae diagnose` and `ppvae diagnose --refine` have measured of the same weights, split and
    seed is taken from the run's folder; the rest is measured now.

    Args:
        chosen: the data, and the pair if it is the user's own.
        run: the folders of one run or more; several of the same data stand side by side.
        split: the data to judge by.
        level: how much `diagnose` computes: quick takes seconds, standard a minute, deep as long
            as it needs; what it has found before unless given, or else quick.
        draws: draws per row, at least.
        refine_seconds: about how long posteriors are refined, where none were before; 0 leaves it
            out.
        output: the file; RUN/report.html unless given, of several runs report.html.
        seed: of the draws.

    Example:
        ppvae report runs/digits-1
    """
    names = [str(folder) for folder in run]
    path = checked_output(names, output)
    every = [opened(each, f) for each, f in zip((chosen, *chosen.others), run, strict=True)]
    effort = None if level is None else getattr(ppvae.diagnostics, level.upper())
    return written(
        dict(zip(names, every, strict=True)),
        path,
        split=split,
        effort=effort,
        draws=draws,
        refine_seconds=refine_seconds,
        seed=seed,
    )


def checked_output(runs: Sequence[str], output: Path | None) -> Path:
    """Return the file of a page, before any work.

    Raises:
        ValueError: if a run is named twice, the file has another ending, or its folder is missing.
    """
    if len(set(runs)) < len(runs):
        raise ValueError(f"report needs different runs, got {', '.join(runs)}")
    if output is None:
        return Path(runs[0]) / FILE if len(runs) == 1 else Path(FILE)
    if output.suffix.lower() not in _ENDINGS:
        raise ValueError(f"--output {output} ends in {output.suffix!r}; expected .html")
    if not output.parent.is_dir():
        raise ValueError(f"--output {output}: there is no folder {output.parent}")
    return output


def written(
    runs: "Mapping[str, tuple[Run, Dataset, nn.Module]]", path: Path, **options: Any
) -> int:
    """Write a page, print its verdict and where it is; return the exit code."""
    print(wrapped(ppvae.reports.write_page_of_runs(runs, path, **options)))
    print(path)
    return 0
