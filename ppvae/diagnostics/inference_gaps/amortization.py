"""How much of log P(X) - ELBO comes from the guide's family, and how much from its network."""

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ppvae.diagnostics.failed_rows import sound
from ppvae.diagnostics.inference_gaps.reduction import finished, reduced
from ppvae.diagnostics.marginal_likelihood import FEWEST_DRAWS, threshold
from ppvae.diagnostics.names import names_of
from ppvae.engine import Data, Pair, adapted, isolated, progress_bar, seeds
from ppvae.refinement import Search, search_chunk, search_chunks, tiles_for

# Twice that of the other diagnostics: the search takes hundreds of steps of few draws, whose
# overhead is small only if a step takes several dozen images. The size of a chunk decides which
# random numbers a datapoint gets, so another default would change every result.
_MEMORY = 128 * 2**20
_Z = 2.0  # a rise within so many standard errors may be chance; false alarms in one case of 44


def gaps(
    pair: Pair,
    data: Data,
    *,
    log_evidence: xr.Dataset | None = None,
    normal: bool = True,
    draws: int = 500,
    steps: int = 400,
    particles: int = 8,
    learning_rate: float = 0.1,
    tolerance: float = 0.05,
    seed: int = 0,
    memory: int = _MEMORY,
    progress: bool | None = None,
) -> xr.Dataset:
    """Split log P(X) - ELBO[q] into the losses from the guide's family and from its network.

        log P(X) - ELBO[q]  =  (log P(X) - ELBO[q*])  +  (ELBO[q*] - ELBO[q])
             total                 approximation             amortization

    q is the guide's posterior. q* is the best distribution of its family for each datapoint: the
    ELBO is maximized over the distributions' own parameters, without the network (Cremer, Li and
    Duvenaud, "Inference Suboptimality in Variational Autoencoders", 2018). The model is fixed. A
    better encoder can close the amortization gap; only another family can close the
    approximation gap. Part of the latter is `correlation` = ELBO[n*] - ELBO[q*], with n* the best
    joint normal distribution of all latents, on unconstrained values and with full covariance. If
    the guide is normal and factorized, it is the loss from ignoring correlations. For another
    family, such as Laplace, it combines the gains of both changes, and may be negative.

    Of a flow, the base's parameters are free for each datapoint, and of `FlowPosterior` the
    context too; its transforms, learned for all datapoints together, stay.

    Where q* cannot be searched for, as of a flow whose transforms have no inverse or of a guide
    whose sites depend on each other, n* alone is: the attribute `not_searched` says why ("" where
    q* was), and `approximation`, `amortization`, `correlation`, `optimal_elbo` and `rise` are NaN.
    What the guide loses against n* is `total` - `normal_approximation`.

    Compute it for training and for held-out data. A model that overfits has a larger total on
    held-out data; an encoder that overfits has a larger amortization gap on held-out data.

    Each ELBO is the mean of log p(x, z) - log q(z) over new draws, none of which was used in the
    optimization. log P(X) is estimated by importance sampling from the mixture of q, q* and n*,
    with equally many draws from each, weighted by the density of the mixture (Veach and Guibas,
    "Optimally Combining Sampling Techniques for Monte Carlo Rendering", 1995). The estimate of
    P(X) is unbiased; choosing the best proposal would add a bias. Its logarithm is too low on
    average, and so are `total` and `approximation`. `pareto_k`, `pooled_k`, `trusted` and `unseen`
    say by how much, as those of `evidence` do, and `unseen` is part of the errors. Pass a better
    one as `log_evidence`. Where q* was not searched for, q has no density at the draws of n*:
    log P(X) is then by the draws of q or of n* alone, the higher one if their difference is no
    chance, else that with more effective draws.

    The search for n* begins at a mode of p(z|x), with the curvature there, and that for q* where
    its family is nearest to that normal, or at the guide if the ELBO is higher there. q* and n*
    are found by Adam in stages; in the last, the step size decreases. With 300 steps or more, the
    first stage takes half of the particles, and a datapoint whose ELBO a later stage raised by no
    more than `tolerance` goes on to the last one at once. The search may end below
    the maximum: up to their errors, the true amortization gap is at least `amortization`, and the
    true approximation gap at most `approximation`. `rise` is the gain of the last stage over the
    one before, at the same random numbers, and `normal_rise` that of n*. `converged` is True where
    neither is further from 0 than `tolerance` plus two of its standard errors. If False, increase
    `steps`. True does not prove convergence: a slow rise, as with a small learning rate, can go
    unnoticed.

    Where there is much to compute, the pair is captured as a graph, and all cores run it.

    Args:
        pair: any pair, its guide a product
            of distributions that depend on the data alone.
        data: `(data, *event)`; of a dataset, the test split.
        log_evidence: log P(X) by another method: a dataset with `log_evidence` and
            `log_evidence_error` in nats, dims `(data,)`, such as `evidence` returns, or the
            `table` of `refine`; its errors are assumed to be independent of those here.
        normal: search for n* too, which takes half of the time.
        draws: number of draws per datapoint from each of q, q* and n* to evaluate them.
        steps: largest number of steps of the optimization.
        particles: draws per datapoint and step.
        learning_rate: the first step size, in units of the width of q.
        tolerance: the largest rise of the ELBO, in nats, that can be ignored.
        seed: of the draws.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        A dataset with dims `(data,)`, in nats: `total`, `approximation`, `amortization` and
        `correlation`; `normal_approximation` = log P(X) - ELBO[n*]; `log_evidence`, `elbo`,
        `optimal_elbo` of q* and `normal_elbo` of n*; `rise` and `normal_rise`, each with its Monte
        Carlo standard error under the suffix `_error`; `converged`; and, NaN if log P(X) was
        given, `pareto_k`, `pooled_k`, `trusted` (False) and `unseen`. `summarize` averages them.

    Raises:
        Unsupported: if the pair's structure does not allow it; if neither q* nor n* can be
            searched for, as where a latent site is discrete or masked; if the pair is a
            pseudo-likelihood and so has no log P(X); or if a result is not finite. The message
            names the site. With `normal=False`, also if q* cannot be searched for.
        ValueError: if a number or `log_evidence` is not valid, or the data are not.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> found = gaps(pair, digits.test[:5], steps=10)
        >>> bool(abs(found.total - found.approximation - found.amortization).max() < 1e-6)
        True
        >>> on_training = gaps(pair, digits.train[:5], steps=10)
        >>> overfit = float(found.amortization.mean() - on_training.amortization.mean())
    """
    search = Search(normal, draws, steps, particles, learning_rate, memory, tolerance)
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0 nats, got {tolerance}")
    names = names_of(data, "test")
    pair, batch = adapted(pair, data, split="test", seed=seed)
    given = None if log_evidence is None else _given(log_evidence, batch[0])
    kept = sound(pair, batch, names)
    batch = kept.batch
    given = None if given is None else given[:, kept.rows]
    rows, done = len(batch[0]), 0
    parts: list[dict[str, Tensor]] = []
    refusals: list[str] = []
    with (
        isolated(pair, seed),
        progress_bar(total=rows, unit=" datapoints", progress=progress) as bar,
        tiles_for(
            rows, gradients=search.gradients, values=search.values, particles=particles
        ) as tiles,
    ):
        draw_seeds = seeds(seed)
        for chunk, structure, vectorized in search_chunks(search, pair, batch, tiles):
            found = search_chunk(search, pair, chunk, structure, vectorized, draw_seeds, tiles)
            here = len(chunk[0])
            own = None if given is None else given[:, done : done + here]
            parts.append(reduced(found, own, memory))
            refusals += [found.refusal] if found.refusal else []
            done += here
            bar.update(here)
    proposals = 1 if len(refusals) == len(parts) else 2 + normal
    table = xr.Dataset(
        {
            name: ("data", value.cpu().numpy())
            for name, value in finished(parts, tolerance, _Z).items()
        },
        attrs={
            "units": "nats",
            "draws": draws,
            "steps": steps,
            "tolerance": tolerance,
            "threshold": threshold(max(proposals * draws, FEWEST_DRAWS)),
            "not_searched": refusals[0] if refusals else "",
        },
    )
    return kept.spread(table)


def _given(log_evidence: xr.Dataset, like: Tensor) -> Tensor:
    """Return the given log P(X) and its standard error, `(2, data)`."""
    names = ("log_evidence", "log_evidence_error")
    for name in names:
        if name not in log_evidence:
            raise ValueError(
                f"log_evidence must hold {' and '.join(names)}, as `evidence` returns them; got "
                f"{', '.join(map(str, log_evidence)) or 'nothing'}"
            )
        if log_evidence[name].dims != ("data",) or log_evidence.sizes["data"] != len(like):
            raise ValueError(
                f"log_evidence must have one value for each of {len(like)} datapoints, got "
                f"{name!r} of sizes {dict(log_evidence[name].sizes)}"
            )
        # Where no number of draws is enough, the error is infinite.
        if np.isnan(log_evidence[name]).any() or np.isinf(log_evidence["log_evidence"]).any():
            raise ValueError(f"log_evidence holds a {name!r} that is NaN or infinite")
    values = np.stack([log_evidence[name].values for name in names])
    return torch.as_tensor(values, device=like.device).double()
