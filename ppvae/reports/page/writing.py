"""A page, from what is given to the file."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from ppvae.data import Dataset
from ppvae.diagnostics import QUICK, Diagnosis, Effort
from ppvae.engine import Data
from ppvae.inference import Fit
from ppvae.inference.persistence import write_bytes
from ppvae.reports.page.comparison import comparison_page
from ppvae.reports.page.measuring import subject_of_pair, subject_of_run
from ppvae.reports.page.one_run import page_of
from ppvae.reports.page.rendering import rendered
from ppvae.reports.page.verdict import alarm_sentence, trust_sentence
from ppvae.reports.run_folder import Run

Opened = tuple[Run, Dataset, nn.Module]
"""A run with its data and its pair."""


def write_page(
    pair: nn.Module,
    data: Data,
    path: str | Path,
    *,
    title: str = "",
    split: str = "test",
    fit: Fit | None = None,
    diagnosis: Diagnosis | None = None,
    effort: Effort = QUICK,
    draws: int = 1000,
    refine_seconds: float = 5.0,
    seed: int = 0,
) -> Path:
    """Write one HTML file that says how good a trained pair is, the verdict first.

    It has the share of rows whose log P(X) is trusted, both sides of formula (2), the training,
    what the model makes of data, all findings of `diagnose`, and the worst rows. The file holds
    all that it shows. What does not apply to a pair is said with its reason.

    Args:
        pair: any trained pair.
        data: a dataset, or tensors as the pair is called with.
        path: the file.
        title: what the page is called; the name of the data unless given.
        split: of a dataset, the part to measure on.
        fit: what `fit` returned, for the curves of the training.
        diagnosis: what `diagnose` found; measured with `effort` unless given.
        effort: how much `diagnose` computes, or computed.
        draws: draws per row.
        refine_seconds: how long posteriors are refined, about; 0 leaves it out.
        seed: of every draw.

    Returns:
        The file.

    Raises:
        ValueError: if a number or the data are not valid, or there is no such split.
        OSError: if the file cannot be written.

    Example:
        >>> import tempfile
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> few = Effort(datapoints=5, draws=20)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_page(
        ...         pair, digits.test[:5], Path(folder) / "page.html", effort=few, draws=20
        ...     )
        ...     "log P(X) can be trusted for" in path.read_text(encoding="utf-8")
        True
    """
    if split not in ("train", "validation", "test"):
        raise ValueError(f"split must be 'train', 'validation' or 'test', got {split!r}")
    own = type(pair).__name__
    subject = subject_of_pair(
        pair,
        data,
        title=title or (data.name if isinstance(data, Dataset) else own),
        split=split,
        fit=fit,
        diagnosis=diagnosis,
        effort=effort,
        draws=draws,
        refine_seconds=refine_seconds,
        seed=seed,
    )
    write_bytes(Path(path), rendered(page_of(subject)).encode())
    return Path(path)


def write_page_of_runs(
    opened: Mapping[str, Opened],
    path: Path,
    *,
    split: str = "test",
    effort: Effort | None = None,
    draws: int = 1000,
    refine_seconds: float = 5.0,
    seed: int = 0,
) -> str:
    """Write the page about a run, or about several runs side by side; return the verdict.

    Args:
        opened: the runs by the names that a user gave them.
        path: the file.
        split: "train", "validation" or "test".
        effort: how much `diagnose` computes; unless given, what the run has kept of any effort
            will do, and otherwise little is computed.
        draws: draws per row.
        refine_seconds: how long posteriors of a run are refined, about.
        seed: of every draw.

    Raises:
        Unsupported: if the runs are of different data or splits.
        ValueError: if what a run has kept is damaged.
    """
    if len(opened) > 1:
        page = comparison_page(
            opened,
            split=split,
            effort=effort,
            draws=draws,
            refine_seconds=refine_seconds,
            seed=seed,
        )
        write_bytes(path, rendered(page).encode())
        return page.lead.sentence
    (run, dataset, pair), *_ = opened.values()
    subject = subject_of_run(
        run,
        pair,
        dataset,
        split=split,
        effort=effort,
        draws=draws,
        refine_seconds=refine_seconds,
        seed=seed,
    )
    write_bytes(path, rendered(page_of(subject)).encode())
    return f"{trust_sentence(subject)}\n{alarm_sentence(subject)}"
