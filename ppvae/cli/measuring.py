"""The command that measures a run, and what `fit` measures at its end.

Nothing heavy is imported with this module: the rooms of `ppvae` are imported when a command runs.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import ppvae
from ppvae.cli import errors
from ppvae.cli.chosen import Chosen, opened

if TYPE_CHECKING:
    from torch import nn

    from ppvae.data import Dataset
    from ppvae.reports import Run

Split = Literal["train", "validation", "test"]
Level = Literal["quick", "standard", "deep"]


def diagnose(
    chosen: Chosen,
    run: Path,
    *,
    split: Split = "test",
    level: Level | None = None,
    strict: bool = False,
    refine: bool = False,
    draws: int = 1000,
    figures: bool = True,
    seed: int = 0,
) -> int:
    """Measure the posterior of a run: every term of formula (2), with standard errors.

    Prints a table, and writes it and the figures into the run's folder. With a level, also every
    diagnostic that applies, each with a verdict, and `diagnosis-SPLIT.nc`, which ArviZ reads.

    Args:
        chosen: the data, and the pair if it is the user's own.
        run: the run's folder.
        split: the data to measure on.
        level: also run every diagnostic: quick takes seconds, standard a minute, deep as long as
            it needs.
        strict: end with the first exception that the pair's own code raises in a diagnostic.
        refine: take log P(X) and the last KL from posteriors that are refined until they can be
            trusted, in place of the guide's draws; it takes longer.
        draws: draws per datapoint of the table.
        figures: whether to write figures.
        seed: of the draws.

    Example:
        ppvae diagnose runs/wine-1 --level quick
    """
    place, dataset, pair = opened(chosen, run)
    return measure(
        place,
        pair,
        dataset,
        split,
        draws=draws,
        seed=seed,
        refine_seconds=math.inf if refine else 0,
        level=level,
        strict=strict,
        figures=figures,
    )


def measure(
    run: "Run",
    pair: "nn.Module",
    dataset: "Dataset",
    split: str,
    *,
    draws: int,
    seed: int,
    compile: bool = True,
    refine_seconds: float = 0,
    level: Level | None = None,
    strict: bool = False,
    figures: bool = True,
) -> int:
    """Print what is measured of a pair, and its run's folder in any case; return the exit code."""
    options: dict[str, Any] = {"seed": seed, "figures": figures}
    failed: Exception | None = None
    try:
        try:
            print(
                ppvae.reports.measure(
                    run,
                    pair,
                    dataset,
                    split,
                    draws=draws,
                    compile=compile,
                    refine_seconds=refine_seconds,
                    **options,
                )
            )
        except Exception as error:
            if level is None or strict or ppvae.engine.raised_in_pair(error) is None:
                raise
            failed = error  # the diagnostics say what can be measured all the same
        if level is not None:
            options |= {"effort": getattr(ppvae.diagnostics, level.upper()), "strict": strict}
            print(ppvae.reports.examine(run, pair, dataset, split, **options))
        if failed is not None:
            raise failed
    except KeyboardInterrupt:
        return errors.complain("interrupted while measuring; the pair is kept", errors.INTERRUPTED)
    finally:
        print(run.folder)  # whatever becomes of the measurement, the trained pair is there
    return 0
