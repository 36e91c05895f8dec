"""The command that finds a posterior of each row that can be trusted.

Nothing heavy is imported with this module: the rooms of `ppvae` are imported when a command runs.
"""

from pathlib import Path
from typing import Literal

import ppvae
from ppvae.cli import answering
from ppvae.cli.chosen import Chosen

Effort = Literal["thorough", "brief"]


def refine(
    chosen: Chosen,
    run: Path,
    source: str | None = None,
    *,
    split: answering.Part = "test",
    effort: Effort = "thorough",
    draws: int = 1000,
    output: Path | None = None,
    seed: int = 0,
) -> int:
    """Find a posterior of each row that can be trusted: its draws, moments and log P(x).

    Each row gets the cheapest posterior that passes. Writes a table with a line a row: log P(x)
    and its error, Pareto k, the level that served the row, whether it is trusted and why not,
    means and standard deviations of the latents; and beside it the draws, as netCDF, which ArviZ
    reads.

    Args:
        chosen: the data, and the pair if it is the user's own.
        run: the run's folder.
        source: a file of new rows of the same columns; - is the standard input. Without it the
            rows are those of the run.
        split: which rows of the run; all takes every row of the file.
        effort: how far to go; brief leaves the levels out that take long.
        draws: draws per row, at least 21; more of them lower the error.
        output: a file .csv, .parquet or .nc; - is the standard output, and then no draws are
            written. Without it a file in the run's folder.
        seed: of the draws.

    Example:
        ppvae refine runs/digits-1 --split test
    """
    answers = ppvae.answers
    answers.check_output(output)
    place, pair, rows, what = answering.asked(chosen, run, source, split)
    found = answers.refine_rows(
        pair,
        rows,
        draws=draws,
        effort=getattr(ppvae.diagnostics, effort.upper()),
        seed=seed,
    )
    path = output or place.folder / f"refined-{what}.csv"
    if path == answers.STDOUT:
        answering.write(found.table, path)
        return 0
    print(found.posterior)
    answering.write(found.table, path)
    beside = path.with_suffix(".nc") if path.suffix != ".nc" else answering.beside(path, "draws")
    answers.write_draws(found.posterior.to_arviz(), beside)
    print(beside)
    return 0
