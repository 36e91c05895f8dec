"""Tables on the screen: what a person reads first, in words."""

from typing import Any

import numpy as np

from ppvae.answers.comparison import verdict
from ppvae.answers.imputation import Imputed
from ppvae.answers.rows import Frame

_WIDTH = 24  # characters of a cell
_AFTER_NAMES = ("log_p", "log_p_error", "pareto_k", "trusted", "rank")


def shown_scores(table: Frame, count: int) -> str:
    """Return the rows of the lowest log P(x) as text.

    Args:
        table: what `score` returned.
        count: number of rows.
    """
    first = table.sort_values("rank").head(count)
    named = [name for name in table.columns if name not in _AFTER_NAMES]
    columns = {
        "rank": [str(rank) for rank in first["rank"]],
        **{name: [str(cell) for cell in first[name]] for name in named},
        "log P(x)": [f"{value:.2f}" for value in first.log_p],
        "error": [_error(value) for value in first.log_p_error],
        "Pareto k": [f"{value:.2f}" for value in first.pareto_k],
        "trusted": ["yes" if trusted else "no" for trusted in first.trusted],
    }
    lines = [f"the {len(first)} of {len(table)} rows with the lowest log P(x), in nats"]
    return "\n".join([*lines, *_aligned(columns), _of_trust(table.trusted, "rows")])


def shown_cells(found: Imputed) -> str:
    """Say how many cells were filled in, of which columns, and how many are trusted."""
    cells = found.cells
    if not len(cells):
        return "no cell is missing in these rows"
    rows = cells.drop_duplicates([cells.columns[0]])
    counts = cells.column.value_counts(sort=False)
    shown = ", ".join(f"{name} ({count})" for name, count in counts.items())
    return f"{len(cells)} missing cells filled in: {shown}\n{_of_trust(rows.trusted, 'rows')}"


def shown_comparison(table: Frame, rows: int, split: str) -> str:
    """Return a table of `compare` as text, and which run is best.

    Args:
        table: what `compare` returned.
        rows: number of rows that were compared on.
        split: the split that they are of.
    """
    columns = {
        "run": list(table.run),
        "log P(X)": [f"{value:.3f}" for value in table.log_p],
        "error": [_error(value) for value in table.log_p_error],
        "difference": [f"{value:.3f}" for value in table.difference],
        "its error": [_error(value) for value in table.difference_error],
        "p-value": [f"{value:.2g}" for value in table.p_value],
        "k too large": [f"{value:.0%}" for value in table.unreliable_share],
    }
    lines = [f"mean of log P(x) of {rows} {split} rows, in nats"]
    return "\n".join([*lines, *_aligned(columns), verdict(table)])


def _aligned(columns: dict[str, list[str]]) -> list[str]:
    """Return the lines of a table, texts of all columns to the right but the first named ones."""
    wide = {
        name: max(len(name), *(min(_WIDTH, len(cell)) for cell in cells))
        for name, cells in columns.items()
    }
    count = len(next(iter(columns.values())))
    lines = [[f"{name:>{wide[name]}}" for name in columns]]
    lines += [
        [f"{_cut(cells[row]):>{wide[name]}}" for name, cells in columns.items()]
        for row in range(count)
    ]
    return ["  " + "  ".join(line) for line in lines]


def _cut(cell: str) -> str:
    return cell if len(cell) <= _WIDTH else f"...{cell[3 - _WIDTH :]}"


def _error(value: float) -> str:
    return "unknown" if not np.isfinite(value) else f"{value:.2f}"


def _of_trust(trusted: Any, what: str) -> str:
    count = len(trusted) - int(trusted.sum())
    if not count:
        return f"all {len(trusted)} {what} are trusted: their Pareto k is below the threshold"
    return (
        f"{count} of {len(trusted)} {what} are not trusted: their Pareto k is too large for these "
        "draws; more draws or a richer posterior help"
    )
