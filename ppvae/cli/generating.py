"""The commands that draw, interpolate and compare.

Nothing heavy is imported with this module: the rooms of `ppvae` are imported when a command runs.
"""

from pathlib import Path
from typing import Literal

import ppvae
from ppvae.cli.answering import asked, write
from ppvae.cli.chosen import Chosen, opened


def interpolate(
    chosen: Chosen,
    run: Path,
    first: str,
    second: str,
    *,
    steps: int = 10,
    output: Path | None = None,
    seed: int = 0,
) -> int:
    """Say what lies between two rows: a straight line in latent space, decoded.

    Args:
        chosen: the data, and the pair if it is the user's own.
        run: the run's folder.
        first: the name of a row, or its number in the file, from 0.
        second: the other row.
        steps: number of points, both ends included.
        output: a file .csv, .parquet or .nc; - is the standard output. Without it a file in the
            run's folder.
        seed: of the draws that decide on levels of categories.

    Example:
        ppvae interpolate runs/digits-1 0 7
    """
    answers = ppvae.answers
    answers.check_output(output)
    place, pair, rows, _ = asked(chosen, run, None, "all")
    table = answers.interpolate(pair, rows, first, second, steps=steps, seed=seed)
    if output is None:
        for path in ppvae.reports.write_interpolation(place, table, chosen.dataset):
            print(path)
    write(table, output or place.folder / "interpolation.csv")
    return 0


def sample(
    chosen: Chosen,
    run: Path,
    *,
    n: int = 100,
    label: str | None = None,
    output: Path | None = None,
    seed: int = 0,
) -> int:
    """Draw new rows from the model of a run, of one class if the pair knows classes.

    Writes samples.csv for a table, samples.npy for other data and, for images, a figure.

    Args:
        chosen: the data, and the pair if it is the user's own.
        run: the run's folder.
        n: number of rows.
        label: the class of all rows, by its name or number; in the proportions of the training
            data unless given.
        output: a file .csv, .parquet or .nc; - is the standard output. Without it files in the
            run's folder.
        seed: of the draws.

    Example:
        ppvae sample runs/digits-1 -n 10 --label 7
    """
    answers = ppvae.answers
    answers.check_output(output)
    place, dataset, pair = opened(chosen, run)
    if output is not None:
        by = place.standardization
        write(answers.sample(pair, dataset, n, label=label, seed=seed, units=by), output)
        return 0
    for path in ppvae.reports.write_samples(place, pair, dataset, n, seed, label=label):
        print(path)
    return 0


def compare(
    chosen: Chosen,
    run: list[Path],
    *,
    split: Literal["train", "validation", "test"] = "test",
    draws: int = 1000,
    output: Path | None = None,
    seed: int = 0,
) -> int:
    """Say which of several runs predicts held-out rows best, by how much, and how surely.

    Compares log P(X) of the same rows, paired; the runs need the same data and split.

    Args:
        chosen: the data, and the pair if it is the user's own.
        run: the folders of the runs, two or more.
        split: the rows to compare on.
        draws: draws per row; more of them lower the error.
        output: a file .csv, .parquet or .nc for the table; - is the standard output.
        seed: of the draws.

    Example:
        ppvae compare runs/wine-1 runs/wine-2
    """
    answers = ppvae.answers
    answers.check_output(output)
    names = [str(folder) for folder in run]
    if len(names) < 2:
        raise ValueError(f"compare needs the folders of two runs or more, got {len(names)}")
    if len(set(names)) < len(names):
        raise ValueError(f"compare needs different runs, got {', '.join(names)}")
    every = [opened(each, f) for each, f in zip((chosen, *chosen.others), run, strict=True)]
    datasets = {name: dataset for name, (_, dataset, _) in zip(names, every, strict=True)}
    answers.check_same_data(datasets)
    pairs = {name: pair for name, (_, _, pair) in zip(names, every, strict=True)}
    rows = answers.rows_of(every[0][1], split)
    table = answers.compare(pairs, rows, draws=draws, seed=seed)
    if output != answers.STDOUT:
        print(answers.shown_comparison(table, len(rows), split))
    if output is not None:
        write(table, output)
    return 0
