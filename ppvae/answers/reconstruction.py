"""What a pair keeps of rows: its expectation of each value, from their latents alone."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pyro.poutine.util import site_is_factor
from torch import Tensor

from ppvae.answers.decoding import categories_of, decoded
from ppvae.answers.measuring import by_row, on_cpu
from ppvae.answers.rows import Frame, as_rows
from ppvae.answers.sampling import of_datapoints
from ppvae.engine import (
    MEMORY,
    Batch,
    Pair,
    by_datapoint,
    isolated,
    observed_site,
    row_chunks,
    run_pair,
)

_BYTES = 64  # of intermediate values for one feature of a row


def reconstruct(
    pair: Pair,
    data: Any,
    *,
    split: str = "test",
    draws: int = 100,
    seed: int = 0,
    memory: int = MEMORY,
) -> Frame:
    """Return E[x'|x] of each row, x' ~ p(x'|z), z ~ q(z|x), in the columns and units of the data.

    Of a category, the most probable level. Missing cells are filled in too, but by the guide
    alone: `impute` weighs its draws.

    Args:
        pair: any pair with one observed site.
        data: a dataset, what `new_rows` returns, or `(data, *event)`.
        split: of a dataset: "train", "validation", "test" or "all".
        draws: number of draws of z per row.
        seed: of the draws.
        memory: bound in bytes on the intermediate tensors.

    Returns:
        A pandas frame: number, name and class of each row, then all columns.

    Raises:
        Unsupported: if the pair has not exactly one observed site.
        ValueError: with fewer than 1 draw, or if the data are not valid.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> table = reconstruct(pairs.assemble(digits, latent=2), digits, draws=3)
        >>> table.shape == (179, 2 + 64)
        True
    """
    import pandas

    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    rows = as_rows(data, split)
    kept = categories_of(rows.schema)

    def measure(own: Pair, batch: Batch) -> dict[str, NDArray[np.float64]]:
        at_once = max(1, memory // (_BYTES * batch[0][0].numel()))
        with isolated(own, seed):
            parts = [_expected(own, part, kept, draws) for part in row_chunks(batch, at_once)]
        return {"x": on_cpu(torch.cat(parts))}

    x = torch.from_numpy(by_row(pair, rows, measure)["x"])
    return pandas.DataFrame({**rows.described(), **decoded(x, rows.columns, rows.schema)})


def _expected(pair: Pair, batch: Batch, kept: dict[int, int], draws: int) -> Tensor:
    """Return E[x'|x], `(data, features)`."""
    total = torch.zeros((), dtype=torch.float64, device=batch[0].device)
    for _ in range(draws):
        _, model = run_pair(pair, batch, drawn=True)
        observed = [
            site for site in model.values() if site["is_observed"] and not site_is_factor(site)
        ]
        found = {site["name"]: site for site in of_datapoints(observed, batch[0])}
        site = found[observed_site(found)]
        value = expectation(site["fn"], kept, lambda x, site=site: by_datapoint(x, site, None))
        total = total + value
    return most_probable(total / draws, kept)


def expectation(distribution: Any, kept: dict[int, int], arranged: Any) -> Tensor:
    """Return means of features, and of categories shares of one draw, `(data, *)`.

    The shares stand behind all features, level by level.

    Args:
        distribution: p(x|z).
        kept: numbers of levels by the place of the feature.
        arranged: puts a value of it in the order `(data, *event)`.
    """

    def flat(value: Tensor) -> Tensor:
        features: Tensor = arranged(value).flatten(1).double()
        return features

    drawn = flat(distribution.sample()) if kept else None
    try:
        mean = flat(distribution.mean)
    except NotImplementedError:
        mean = flat(distribution.sample()) if drawn is None else drawn
    if drawn is None:
        return mean
    hot = [
        (drawn[:, [place]] == torch.arange(count, device=drawn.device)).double()
        for place, count in kept.items()
    ]
    return torch.cat([mean, *hot], dim=1)


def most_probable(shares: Tensor, kept: dict[int, int]) -> Tensor:
    """Return the features that `expectation` says, of a category the level of most shares."""
    if not kept:
        return shares
    features = shares.shape[1] - sum(kept.values())
    values, levels = shares[:, :features].clone(), shares[:, features:]
    for (place, _), votes in zip(
        kept.items(), levels.split(list(kept.values()), dim=1), strict=True
    ):
        values[:, place] = votes.argmax(1).to(values)
    return values
