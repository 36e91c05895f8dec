"""The commands that answer for rows: those of a run, or new ones of the same kind.

Nothing heavy is imported with this module: the rooms of `ppvae` are imported when a command runs.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import ppvae
from ppvae.cli.chosen import Chosen, opened

if TYPE_CHECKING:
    from torch import nn

    from ppvae.answers import Rows
    from ppvae.reports import Run

Part = Literal["train", "validation", "test", "all"]
_SHOWN = 10  # rows of a table on the screen


def encode(
    chosen: Chosen,
    run: Path,
    source: str | None = None,
    *,
    split: Part = "test",
    draws: int = 0,
    output: Path | None = None,
    seed: int = 0,
) -> int:
    """Say where rows lie in latent space: mean and standard deviation of each latent.

    Writes a table with a line a row: its number in the file, its name and class if they are known,
    and columns such as z_0 and z_0_sd.

    Args:
        chosen: the data, and the pair if it is the user's own.
        run: the run's folder.
        source: a file of new rows of the same columns; - is the standard input. Without it the
            rows are those of the run.
        split: which rows of the run; all takes every row of the file.
        draws: draws of each row's latents, written beside as a table of their own.
        output: a file .csv, .parquet or .nc; - is the standard output. Without it a file in the
            run's folder.
        seed: of the draws.

    Example:
        ppvae encode runs/penguins-1 --split all
    """
    answers = ppvae.answers
    answers.check_output(output)
    place, pair, rows, what = asked(chosen, run, source, split)
    table = answers.encode(pair, rows, seed=seed)
    drawn = answers.encode_draws(pair, rows, draws=draws, seed=seed) if draws else None
    path = output or place.folder / f"latents-{what}.csv"
    if drawn is None or path != answers.STDOUT:
        write(table, path)
    if drawn is not None:
        write(drawn, beside(path, "draws"))
    return 0


def score(
    chosen: Chosen,
    run: Path,
    source: str | None = None,
    *,
    split: Part = "test",
    draws: int = 1000,
    output: Path | None = None,
    seed: int = 0,
) -> int:
    """Say how probable rows are, and which are anomalies: log P(x), its error, trust and rank.

    Shows the rows of the lowest log P(x), and writes a table with a line a row.

    Args:
        chosen: the data, and the pair if it is the user's own.
        run: the run's folder.
        source: a file of new rows of the same columns; - is the standard input. Without it the
            rows are those of the run.
        split: which rows of the run; all takes every row of the file.
        draws: draws per row; more of them lower the error.
        output: a file .csv, .parquet or .nc; - is the standard output. Without it a file in the
            run's folder.
        seed: of the draws.

    Example:
        ppvae score runs/wine-1 --split all
    """
    answers = ppvae.answers
    answers.check_output(output)
    place, pair, rows, what = asked(chosen, run, source, split)
    table = answers.score(pair, rows, draws=draws, seed=seed)
    path = output or place.folder / f"scores-{what}.csv"
    if path != answers.STDOUT:
        print(answers.shown_scores(table, _SHOWN))
    write(table, path)
    return 0


def impute(
    chosen: Chosen,
    run: Path,
    source: str | None = None,
    *,
    split: Part = "all",
    imputations: int = 0,
    draws: int = 1000,
    output: Path | None = None,
    seed: int = 0,
) -> int:
    """Complete a table: what missing cells probably hold, with intervals and trust.

    Writes the completed table, and beside it a table with a line a missing cell: its value, the
    ends of an interval that holds 90 %, and whether the row is trusted.

    Args:
        chosen: the data, and the pair if it is the user's own.
        run: the run's folder.
        source: a file of new rows of the same columns; - is the standard input. Without it the
            rows are those of the run.
        split: which rows of the run; all takes every row of the file.
        imputations: so many completed tables, drawn at random, in place of the most probable one.
        draws: draws per row; more of them lower the error.
        output: a file .csv, .parquet or .nc; - is the standard output. Without it a file in the
            run's folder.
        seed: of the draws.

    Example:
        ppvae impute runs/penguins-1
    """
    answers = ppvae.answers
    answers.check_output(output)
    place, pair, rows, what = asked(chosen, run, source, split)
    found = answers.impute(pair, rows, imputations=imputations, draws=draws, seed=seed)
    path = output or place.folder / f"imputed-{what}.csv"
    if path != answers.STDOUT:
        print(answers.shown_cells(found))
    write(found.table, path)
    if path != answers.STDOUT:
        write(found.cells, beside(path, "cells"))
    return 0


def reconstruct(
    chosen: Chosen,
    run: Path,
    source: str | None = None,
    *,
    split: Part = "test",
    draws: int = 100,
    output: Path | None = None,
    seed: int = 0,
) -> int:
    """Say what a pair keeps of rows: the value that it expects of each cell, from its latents.

    Args:
        chosen: the data, and the pair if it is the user's own.
        run: the run's folder.
        source: a file of new rows of the same columns; - is the standard input. Without it the
            rows are those of the run.
        split: which rows of the run; all takes every row of the file.
        draws: draws of each row's latents that are averaged over.
        output: a file .csv, .parquet or .nc; - is the standard output. Without it a file in the
            run's folder.
        seed: of the draws.

    Example:
        ppvae reconstruct runs/wine-1
    """
    answers = ppvae.answers
    answers.check_output(output)
    place, pair, rows, what = asked(chosen, run, source, split)
    table = answers.reconstruct(pair, rows, draws=draws, seed=seed)
    write(table, output or place.folder / f"reconstructions-{what}.csv")
    return 0


def asked(
    chosen: Chosen, folder: Path, source: str | None, split: str
) -> "tuple[Run, nn.Module, Rows, str]":
    """Return a run, its pair, the rows that are asked about, and what to call them."""
    run, dataset, pair = opened(chosen, folder)
    if source is None:
        return run, pair, ppvae.answers.rows_of(dataset, split), split
    if run.standardization is not None:
        raise ValueError(
            f"{folder} is a run of version 0.1, whose pair takes standardized values; train it "
            "anew, or leave the file of new rows out"
        )
    name = "input" if source == "-" else Path(source).name.partition(".")[0]
    return run, pair, ppvae.answers.new_rows(dataset, source), name or "input"


def write(table: Any, path: Path) -> None:
    """Write a table; print its path, unless it is the standard output."""
    ppvae.answers.write_table(table, path)
    if path != ppvae.answers.STDOUT:
        print(path)


def beside(path: Path, what: str) -> Path:
    """Return the file of a second table beside that of the first."""
    return path if path == ppvae.answers.STDOUT else path.with_stem(f"{path.stem}-{what}")
