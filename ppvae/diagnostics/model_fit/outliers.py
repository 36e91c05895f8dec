"""How unusual datapoints are under a pair, by their evidence."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ppvae.data import Dataset
from ppvae.diagnostics.failed_rows import warn_of_rows
from ppvae.diagnostics.marginal_likelihood import evidence
from ppvae.diagnostics.names import names_of
from ppvae.diagnostics.rank_tests import highest_p_value
from ppvae.engine import (
    MEMORY,
    Batch,
    Data,
    Pair,
    Unsupported,
    adapted,
    first_line,
    sound_rows,
)


def outlier_score(
    pair: Pair,
    data: Data,
    *,
    reference: Data,
    draws: int = 100,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> xr.Dataset:
    """Rank log P(x) of datapoints among that of reference datapoints.

    - `log_evidence`: log P(x) in nats, as `evidence` measures it;
    - `p_value`: small where log P(x) is low among the reference ones;
    - `typicality_p_value`: small where log P(x) is far from their mean, on either side (Nalisnick,
      Matsukawa, Teh and Lakshminarayanan, "Detecting Out-of-Distribution Inputs to Deep
      Generative Models Using Typicality", 2019, for a single datapoint).

        p = (1 + #{reference at least as unusual}) / (1 + reference)  >=  1 / (1 + reference)

    For a datapoint of the same source as the reference p is uniform on these steps, exactly, if
    the pair was fitted to neither; if it was fitted to the reference, log P(x) there is too high.
    The lowest p says that no reference datapoint is as unusual, not how unusual the datapoint is:
    more reference datapoints allow lower ones. It is also the p of a datapoint whose log P(x) is
    -inf, and of one that the pair fails on, whose `log_evidence` is NaN and which a warning names.
    A high log P(x) does not prove that a datapoint is of the same source: models of natural images
    give smoother images of another source a higher one than their own (Nalisnick, Matsukawa, Teh,
    Gorur and Lakshminarayanan, "Do Deep Generative Models Know What They Don't Know?", 2019).
    Typicality detects those if their log P(x) is higher than usual, but no datapoint with the
    usual log P(x).

    Args:
        pair: any pair.
        data: the datapoints to judge, `(data, *event)`; of a dataset, the test split.
        reference: datapoints of the usual source, `(reference, *event)`, better not used in the
            fit; of a dataset, the validation split. The training split would make new datapoints
            of the same source look like outliers, since the pair was fitted to it: training rows
            have a higher log P(x) and are not exchangeable with new ones.
        draws: number of draws per datapoint, the same for both, because few draws lower both.
        seed: of the draws.
        memory: bound in bytes on the intermediate tensors.
        progress: show progress bars; only on a terminal, unless given.

    Returns:
        A dataset with dims `(data,)`. Its attribute `smallest` is the lowest p there is.

    Raises:
        Unsupported, ValueError: as `evidence` does.
        ValueError: if the validation split of a dataset given as `reference` is empty.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> scores = outlier_score(
        ...     pair, digits.test[:5], reference=digits.validation[:50], draws=20
        ... )
        >>> scores.p_value.shape
        (5,)
    """
    if isinstance(reference, Dataset) and len(reference.validation) == 0:
        raise ValueError(
            f"reference is dataset {reference.name!r}, whose validation split is empty; pass "
            "datapoints of the usual source that the pair was not fitted to"
        )
    of_usual, usual = adapted(pair, reference, split="validation", argument="reference", seed=seed)
    names = names_of(data, "test")
    pair, batch = adapted(pair, data, split="test", seed=seed)

    def log_evidence(of_part: Pair, part: Batch, its_seed: int) -> NDArray[np.float64]:
        terms = evidence(
            of_part, part, draws=draws, seed=its_seed, memory=memory, progress=progress
        )
        array: NDArray[np.float64] = terms.log_evidence.values
        return array

    known = log_evidence(of_usual, usual, seed)
    try:
        values = log_evidence(pair, batch, seed + 1)
    except Unsupported:
        raise
    except ValueError as error:
        # On the reference the pair does not fail.
        if len(sound_rows(pair, batch)):
            raise
        values = np.full(len(batch[0]), np.nan)
        warn_of_rows(np.arange(len(values)), len(values), first_line(error), names)
    # The mean includes the datapoint itself, so that it is exchangeable with the reference ones.
    total = np.where(np.isfinite(values), values, 0.0) + known[np.isfinite(known)].sum()
    mean = total / np.maximum(np.isfinite(values) + np.isfinite(known).sum(), 1)
    score, others = _below_all(values), _below_all(known)[:, None]
    smallest = 1 / (1 + len(known))
    judged = xr.Dataset(
        {
            "log_evidence": ("data", values),
            "p_value": ("data", highest_p_value(-score, -others)),
            "typicality_p_value": ("data", highest_p_value(abs(score - mean), abs(others - mean))),
        },
        attrs={"units": "nats", "draws": draws, "reference": len(known), "smallest": smallest},
    )
    return names.on(judged)


def _below_all(log_evidence: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log P(x), and -inf where the pair fails."""
    return np.where(np.isnan(log_evidence), -np.inf, log_evidence)
