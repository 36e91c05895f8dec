"""How unusual datapoints are under a pair, by their evidence."""

import numpy as np
import xarray as xr

from ppvae.diagnostics.marginal_likelihood import evidence
from ppvae.diagnostics.rank_tests import upper_p_value
from ppvae.engine import MEMORY, Data, Pair, as_batch


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

    Both are uniform on (0, 1), exactly, for a datapoint of the same source as the reference if
    the pair was fitted to neither; if it was fitted to the reference, log P(x) there is too high.
    A high log P(x) does not prove that a datapoint is of the same source: models of natural images
    give smoother images of another source a higher one than their own (Nalisnick, Matsukawa, Teh,
    Gorur and Lakshminarayanan, "Do Deep Generative Models Know What They Don't Know?", 2019).
    Typicality detects those if their log P(x) is higher than usual, but no datapoint with the
    usual log P(x).

    Args:
        pair: any pair whose sites stand inside `pyro.plate("data", ...)`.
        data: the datapoints to judge, `(data, *event)`; of a dataset, the test split.
        reference: datapoints of the usual source, `(reference, *event)`, better not used in the
            fit; of a dataset, the validation split.
        draws: number of draws per datapoint, the same for both, because few draws lower both.
        seed: of the draws, and of how ties break.
        memory: bound in bytes on the intermediate tensors.
        progress: show progress bars; only on a terminal, unless given.

    Returns:
        A dataset with dims `(data,)`.

    Raises:
        Unsupported, ValueError: as `evidence` does.

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
    usual = as_batch(reference, pair, split="validation", argument="reference")
    known, values = (
        evidence(
            pair, part, draws=draws, seed=its_seed, memory=memory, progress=progress
        ).log_evidence.values
        for part, its_seed in ((usual, seed), (data, seed + 1))
    )
    generator = np.random.default_rng(seed)
    # The mean includes the datapoint itself, so that it is exchangeable with the reference ones.
    mean = (known.sum() + values) / (len(known) + 1)
    return xr.Dataset(
        {
            "log_evidence": ("data", values),
            "p_value": ("data", upper_p_value(-values, -known[:, None], generator)),
            "typicality_p_value": (
                "data",
                upper_p_value(abs(values - mean), abs(known[:, None] - mean), generator),
            ),
        },
        attrs={"units": "nats", "draws": draws, "reference": len(known)},
    )
