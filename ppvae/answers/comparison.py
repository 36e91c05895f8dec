"""Which of several pairs predicts held-out rows best."""

import itertools
from collections.abc import Mapping
from typing import Any

import torch

from ppvae import diagnostics
from ppvae.answers.rows import SPLITS, Frame, Rows
from ppvae.data import Dataset
from ppvae.engine import MEMORY, Pair, Unsupported

LEVEL = 0.05
"""The p-value below which a difference counts as more than chance."""


def compare(
    pairs: Mapping[str, Pair],
    rows: Rows,
    *,
    draws: int = 1000,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> Frame:
    """Compare pairs by log P(x) of the same held-out rows, paired, best first.

    The columns, in nats per row, as of `diagnostics.compare`:

    - `log_p` and `log_p_error`: the mean of log P(x) and its standard error for new rows;
    - `difference` and `difference_error`: the mean minus that of the best pair, and the standard
      error of the paired differences;
    - `p_value`: the probability that the largest difference between any two of the pairs is so
      large if all are equally good;
    - `unreliable_share`: the share of rows whose Pareto k is too large.

    Args:
        pairs: at least two pairs by name, made for the same data.
        rows: the rows, not used in the fits.
        draws: number of draws per row, at least 21.
        seed: of the draws.
        memory: bound in bytes on the intermediate tensors.
        progress: show progress bars; only on a terminal, unless given.

    Raises:
        Unsupported, ValueError: as `diagnostics.compare` does.

    Example:
        >>> from ppvae import answers, data, pairs
        >>> digits = data.digits()
        >>> fits = {f"{n} latents": pairs.assemble(digits, latent=n) for n in (2, 4)}
        >>> table = compare(fits, answers.rows_of(digits), draws=50)
        >>> bool(table.difference[0] == 0), bool(table.difference[1] < 0)
        (True, True)
    """
    import pandas

    found = diagnostics.compare(
        pairs, rows.batch, draws=draws, seed=seed, memory=memory, progress=progress
    )
    table = pandas.DataFrame(
        {
            "run": found.model.values,
            "log_p": found["mean"].values,
            "log_p_error": found.data_error.values,
            "difference": found.difference.values,
            "difference_error": found.difference_data_error.values,
            "p_value": found.difference_p_value.values,
            "unreliable_share": found.unreliable_share.values,
        }
    )
    return table.sort_values("difference", ascending=False, ignore_index=True)


def verdict(table: Frame, level: float = LEVEL) -> str:
    """Say in one sentence which pair of a table of `compare` is best, and at which level.

    Example:
        >>> import pandas
        >>> table = pandas.DataFrame(
        ...     {
        ...         "run": ["a", "b"],
        ...         "difference": [0.0, -2.0],
        ...         "difference_error": [0.0, 0.5],
        ...         "p_value": [1.0, 0.003],
        ...     }
        ... )
        >>> verdict(table)
        'a is best at the 5 % level: 2.000 +- 0.500 nats a row above b (p = 0.003)'
    """
    best, second = table.iloc[0], table.iloc[1]
    shown = (
        f"{-second.difference:.3f} +- {second.difference_error:.3f} nats a row above "
        f"{second.run} (p = {second.p_value:.2g})"
    )
    # Another may differ less clearly, if its differences vary more.
    if bool((table.p_value[1:] < level).all()):
        return f"{best.run} is best at the {100 * level:.0f} % level: {shown}"
    return (
        f"none is best at the {100 * level:.0f} % level: {best.run} has the highest log P(x), "
        f"{shown}"
    )


def check_same_data(datasets: Mapping[str, Dataset]) -> None:
    """Refuse runs whose rows, splits or conditions differ.

    Raises:
        Unsupported: with what differs.
    """
    for (one, first), (other, second) in itertools.pairwise(datasets.items()):
        differs = _difference(first, second)
        if differs:
            raise Unsupported(
                f"{one} and {other} are not compared: {differs}; train both on the same data with "
                "the same split"
            )


def _difference(first: Dataset, second: Dataset) -> str:
    """Say what differs; nothing if the pairs are called with the same tensors."""
    if bool(first.conditions) != bool(second.conditions):
        return "one of them is given the class of each row, so that log P(x) is that of the class"
    for part in SPLITS:
        if not torch.equal(first.row_numbers(part), second.row_numbers(part)):
            return f"their {part} rows are other rows of the data"
        batches: tuple[Any, Any] = first.batch(part), second.batch(part)
        same = len(batches[0]) == len(batches[1]) and all(
            torch.equal(a, b) for a, b in zip(*batches, strict=True)
        )
        if not same:
            return f"their {part} rows hold other values"
    return ""
