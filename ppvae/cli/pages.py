"""A page about runs, from Python."""

from pathlib import Path

from ppvae.cli.chosen import opened
from ppvae.cli.of_runs import chosen_of
from ppvae.cli.reporting import checked_output
from ppvae.diagnostics import Effort
from ppvae.reports import write_page_of_runs


def report(
    run: str | Path,
    *others: str | Path,
    split: str = "test",
    effort: Effort | None = None,
    draws: int = 1000,
    refine_seconds: float = 5.0,
    output: str | Path | None = None,
    seed: int = 0,
    trust: tuple[str, ...] = (),
) -> Path:
    """Write one HTML file about a run that says first what can be trusted, or compare several.

    It is what `ppvae report RUN` writes. `reports.write_page` writes one about a pair and data
    that have no folder of a run.

    Args:
        run: the run's folder.
        others: folders of further runs of the same data, to stand beside it.
        split: "train", "validation" or "test".
        effort: how much `diagnose` computes; unless given, what it has found before will do, and
            otherwise little is computed.
        draws: draws per row, at least.
        refine_seconds: about how long posteriors are refined, where none were before; 0 leaves it
            out.
        output: the file; `RUN/report.html` unless given, of several runs `report.html`.
        seed: of the draws.
        trust: what the run's files may name besides classes of ppvae, torch and Pyro.

    Returns:
        The file.

    Raises:
        FileNotFoundError: if there is no such run.
        Unsupported: if the runs are of different data or splits.
        ValueError: if a file of the run is damaged, or a value is not valid.

    Example:
        >>> try:
        ...     report("runs/none-1")
        ... except FileNotFoundError as error:
        ...     print(error)
        runs/none-1 is not the folder of a run
    """
    if split not in ("train", "validation", "test"):
        raise ValueError(f"split must be 'train', 'validation' or 'test', got {split!r}")
    folders = [Path(each) for each in (run, *others)]
    path = checked_output([str(f) for f in folders], None if output is None else Path(output))
    chosen = [chosen_of(folder, list(trust), seed) for folder in folders]
    runs = {str(f): opened(each, f) for f, each in zip(folders, chosen, strict=True)}
    write_page_of_runs(
        runs,
        path,
        split=split,
        effort=effort,
        draws=draws,
        refine_seconds=refine_seconds,
        seed=seed,
    )
    return path
