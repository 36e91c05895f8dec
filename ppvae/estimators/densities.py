"""log P(x) of each row on its own, by randomized quasi-Monte Carlo."""

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from ppvae.engine import log_mean_exp
from ppvae.pairs import VAE

_VALUES = 2**22  # of an intermediate tensor
_WIDTH = 256  # numbers at least that a draw of a row takes


def normal_points(count: int, dimensions: int, seed: int) -> Tensor:
    """Return points spread evenly over a standard normal distribution, `(count, dimensions)`.

    A scrambled Sobol sequence through the inverse of the normal's distribution function (Owen,
    "Monte Carlo variance of scrambled net quadrature", 1997). Each point is a draw of the normal
    over random seeds, so that averages over the points are without bias. The error of averages of
    smooth functions falls faster than with independent draws.

    Example:
        >>> points = normal_points(256, 2, seed=0)
        >>> bool(points.mean(0).abs().max() < 0.01), bool((points.std(0) - 1).abs().max() < 0.01)
        (True, True)
    """
    engine = SobolEngine(dimensions, scramble=True, seed=seed)
    uniform = engine.draw(count, dtype=torch.float64)
    tiny = torch.finfo(torch.float32).eps
    points: Tensor = torch.special.ndtri(uniform.clamp(tiny, 1 - tiny))
    return points


@torch.no_grad()
def log_densities(pair: VAE, batch: tuple[Tensor, ...], draws: int, seed: int) -> Tensor:
    """Estimate log P(x) of each row by importance sampling.

        log P(x) = log 1/K sum_k p(x, z_k) / q(z_k|x),    z_k = loc(x) + scale(x) e_k

    with K points e_k that are the same for all rows. So the value of a row does not depend on
    which rows are scored with it, as that of `diagnostics.evidence` does.

    Args:
        pair: a VAE whose q(z|x) is `DiagonalNormal`, in evaluation mode.
        batch: what it is called with, of rows `(data, features)`.
        draws: the number K.
        seed: of the points.

    Returns:
        Nats, `(data,)`; -inf for rows outside the support.
    """
    x = batch[0]
    outside = ~pair.likelihood.support.check(x).flatten(1).all(1)
    scored = torch.full((len(x),), -torch.inf, dtype=x.dtype)
    rows = (~outside).nonzero().flatten()
    size = max(1, _VALUES // (draws * max(_WIDTH, x.shape[1])))
    points = None
    for chunk in rows.split(size) if len(rows) else ():
        x, *given = (part[chunk] for part in batch)
        posterior = pair.posterior(x, *given)
        loc, scale = posterior.base_dist.loc, posterior.base_dist.scale
        if points is None:
            points = normal_points(draws, loc.shape[-1], seed).to(loc)[:, None]
        z = loc + scale * points
        log_weights = pair.likelihood(z, *given).log_prob(x) + pair.prior(*given).log_prob(z)
        scored[chunk] = log_mean_exp(log_weights - posterior.log_prob(z))[0]
    return scored
