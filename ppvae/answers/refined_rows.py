"""Posteriors of rows that can be trusted: a table of them, and their draws."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ppvae.answers.encoding import latent_columns
from ppvae.answers.measuring import on_cpu
from ppvae.answers.rows import Frame, as_rows, free
from ppvae.diagnostics import THOROUGH, Escalation, Refined, refine
from ppvae.diagnostics.names import NamedBatch, Names
from ppvae.engine import MEMORY, Pair


@dataclass(frozen=True)
class RefinedRows:
    """What `refine_rows` found.

    Args:
        table: a line a row.
        posterior: the draws of each row, and what is known of them.
    """

    table: Frame
    posterior: Refined


def refine_rows(
    pair: Pair,
    data: Any,
    *,
    split: str = "test",
    draws: int = 1000,
    effort: Escalation = THOROUGH,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> RefinedRows:
    """Find a posterior of each row that can be trusted, as `diagnostics.refine` does.

    The columns after number, name and class of each row:

    - `log_p` and `log_p_error`: log P(x) in nats and its standard error;
    - `posterior_kl`: KL[q(z|x) || p(z|x)] of the guide, in nats;
    - `pareto_k`, `effective_sample_size`: of the weights of the draws;
    - `level`: what served the row, the cheapest first: guide, modes, adapted, search, annealing;
    - `trusted`: whether the errors hold, and `reason`: why not;
    - posterior means such as `z_0`, then standard deviations such as `z_0_sd`.

    Args:
        pair: any pair.
        data: a dataset, what `new_rows` returns, or `(data, *event)`.
        split: of a dataset: "train", "validation", "test" or "all".
        draws: number of draws per row, at least 21.
        effort: how far to go where a cheaper posterior does not pass.
        seed: of the draws.
        memory: bound in bytes on the intermediate tensors, not on the draws that are returned.
        progress: show a progress bar; only on a terminal, unless given.

    Raises:
        Unsupported, ValueError: as `diagnostics.refine` does.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> found = refine_rows(pair, digits.test[:3], draws=100)
        >>> bool(found.table.trusted.all()), found.table.z_1_sd.shape
        (True, (3,))
    """
    import pandas

    rows = as_rows(data, split)
    labels = () if rows.labels is None else tuple(map(str, rows.labels))
    batch = NamedBatch(rows.batch, Names(rows.numbers, rows.names, labels))
    found = refine(
        pair, batch, draws=draws, effort=effort, seed=seed, memory=memory, progress=progress
    )
    terms = found.table
    known = ~np.isnan(terms.level.values.astype(float))
    level = [
        found.levels[int(place)] if there else ""
        for place, there in zip(terms.level.values, known, strict=True)
    ]
    columns = {
        **rows.described(),
        "log_p": terms.log_evidence.values,
        "log_p_error": terms.log_evidence_error.values,
        "posterior_kl": terms.posterior_kl.values,
        "pareto_k": terms.pareto_k.values,
        "effective_sample_size": terms.effective_sample_size.values,
        "level": np.array(level, dtype=object),
        "trusted": terms.trusted.values.astype(bool),
        "reason": np.array(
            [found.refusals.get(row, "") for row in range(len(rows))], dtype=object
        ),
    }
    for moments, ending in ((found.means, ""), (found.sds, "_sd")):
        for site, values in moments.items():
            for name, column in latent_columns(site, on_cpu(values), ending).items():
                columns[free(name, columns)] = column
    return RefinedRows(pandas.DataFrame(columns), found)
