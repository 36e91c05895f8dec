"""How unusual datapoints are for a pair, by their evidence."""

import numpy as np
import xarray as xr

from ppvae.diagnostics.marginal_likelihood import evidence
from ppvae.diagnostics.rank_tests import upper_p_value
from ppvae.engine import MEMORY, Data, Pair


def outlier_score(
    pair: Pair,
    train: Data,
    data: Data,
    *,
    draws: int = 100,
    seed: int = 0,
    memory: int = MEMORY,
) -> xr.Dataset:
    """Rank log P(x) of datapoints among that of known ones.

    - `log_evidence`: log P(x) in nats, as `evidence` measures it;
    - `p_value`: small where log P(x) is low among the known ones;
    - `typicality_p_value`: small where log P(x) is far from their mean, on either side (Nalisnick,
      Matsukawa, Teh and Lakshminarayanan, "Detecting Out-of-Distribution Inputs to Deep
      Generative Models Using Typicality", 2019, for a single datapoint).

    Both are uniform on (0, 1), exactly, for a datapoint of the same source as the known ones if
    the fit has seen neither; known data that it was fitted to lie too high. A high log P(x) is no
    proof: models of natural images give smoother images of another source a higher one than their
    own (Nalisnick, Matsukawa, Teh, Gorur and Lakshminarayanan, "Do Deep Generative Models Know
    What They Don't Know?", 2019). Typicality sees those if log P(x) is higher than usual, and
    nothing that merely has the usual log P(x).

    Args:
        pair: any pair whose sites stand inside `pyro.plate("data", ...)`.
        train: the known datapoints, `(known, *event)`; better held out from the fit.
        data: the datapoints to judge, `(data, *event)`; of a dataset, the test split.
        draws: number of draws per datapoint, the same for both, since few draws lower both.
        seed: of the draws, and of how ties break.
        memory: bound in bytes on the intermediate tensors.

    Returns:
        A dataset with dims `(data,)`.

    Raises:
        ValueError: as `evidence` does.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> scores = outlier_score(pair, digits.validation[:50], digits.test[:5], draws=20)
        >>> scores.p_value.shape
        (5,)
    """
    known = evidence(pair, train, draws=draws, seed=seed, memory=memory).log_evidence.values
    values = evidence(pair, data, draws=draws, seed=seed + 1, memory=memory).log_evidence.values
    generator = np.random.default_rng(seed)
    # The mean that a datapoint is far from is that of the known ones and itself: so all are alike.
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
        attrs={"units": "nats", "draws": draws, "known": len(known)},
    )
