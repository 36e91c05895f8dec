"""How probable rows are under a pair, and which are the least."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ppvae.answers.rows import Frame, as_rows
from ppvae.diagnostics import evidence
from ppvae.engine import MEMORY, Pair

_ROWS = 10  # for each column, from which on its average share is found


def score(
    pair: Pair,
    data: Any,
    *,
    split: str = "test",
    draws: int = 1000,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> Frame:
    """Return log P(x) of each row, how far it can be trusted, and its rank as an anomaly.

    The columns, as of `diagnostics.evidence`:

    - `log_p`: log P(x) in nats, of the known cells of a row, by importance sampling;
    - `log_p_error`: its Monte Carlo standard error, what unseen weights may add included;
    - `pareto_k`: the shape of the tail of the weights, estimated from all rows together;
    - `trusted`: whether it is below the threshold. Elsewhere log P(x) is likely too low;
    - `rank`: 1 for the lowest log P(x), the most anomalous row. Of rows with missing cells fewer
      terms add up: where there are any, rows are ranked by log P(x) less what their known cells
      add to it on average, found by least squares. Rows on which the pair fails come first.

    A row that the pair was fitted to has a higher log P(x) than a new one of the same source, the
    less data the more so.

    Args:
        pair: any pair.
        data: a dataset, what `new_rows` returns, or `(data, *event)`.
        split: of a dataset: "train", "validation", "test" or "all".
        draws: number of draws per row; from 21 on k is known.
        seed: of the draws.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        A pandas frame: number, name and class of each row, then these columns.

    Raises:
        Unsupported, ValueError: as `diagnostics.evidence` does.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> scores = score(pairs.assemble(digits, latent=2), digits, draws=50)
        >>> scores.sort_values("rank").log_p.is_monotonic_increasing
        True
    """
    import pandas

    rows = as_rows(data, split)
    terms = evidence(pair, rows.batch, draws=draws, seed=seed, memory=memory, progress=progress)
    log_p = terms.log_evidence.values
    compared = log_p if rows.seen is None else _less_average(log_p, rows.seen)
    order = np.argsort(np.where(np.isnan(compared), -np.inf, compared), kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    return pandas.DataFrame(
        {
            **rows.described(),
            "log_p": log_p,
            "log_p_error": terms.log_evidence_error.values,
            "pareto_k": terms.pooled_k.values,
            "trusted": terms.trusted.values.astype(bool),
            "rank": rank,
        }
    )


def _less_average(log_p: NDArray[np.float64], seen: Tensor) -> NDArray[np.float64]:
    """Return log P(x) of each row less what its known cells add on average."""
    cells: NDArray[np.float64] = seen.flatten(1).cpu().double().numpy()
    known = np.isfinite(log_p)
    if known.sum() < _ROWS * cells.shape[1]:
        cells = cells.sum(1, keepdims=True)
    share = np.linalg.lstsq(cells[known], log_p[known], rcond=None)[0]
    less: NDArray[np.float64] = log_p - cells @ share
    return less
