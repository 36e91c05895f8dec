"""The evidence of all data together, for pairs with latents that all datapoints share."""

import math
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
import xarray as xr
from torch import Tensor

from ppvae.diagnostics.export.fitted_programs import FittedPrograms
from ppvae.diagnostics.given_posterior import GivenPosterior
from ppvae.diagnostics.marginal_likelihood.joint_draws import at_once, one_by_one
from ppvae.diagnostics.marginal_likelihood.mean_shifts import mean_shifts
from ppvae.diagnostics.marginal_likelihood.pareto import FEWEST_DRAWS, tail_fit, threshold
from ppvae.engine import (
    Adapted,
    Data,
    Pair,
    Site,
    Sites,
    Unsupported,
    arguments_of,
    base_of,
    batch_of,
    isolated,
    log_mean_exp,
    mean_error,
    seeded,
    unnormalized,
)

_NUMBERS = 1000  # of a latent whose draws are kept
_OF_POSTERIOR = (
    "log_evidence",
    "log_evidence_error",
    "pareto_k",
    "effective_sample_size",
    "unseen_shift",
)


def joint_evidence(
    pair: Pair,
    data: Data,
    *,
    draws: int = 1000,
    posterior: GivenPosterior | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> xr.Dataset:
    """Measure formula (2) of all data together, with its Monte Carlo standard errors.

        log P(X) - KL[Q(Z|X) || P(Z|X)]  =  E_Q[log P(X, Z) - log Q(Z|X)],    X = (x_1, ..., x_n)

    Where datapoints share latents, log P(X) is no sum over datapoints, and `evidence` measures
    each of them given one draw of what they share. Here Z holds all latents, shared ones and those
    of single datapoints, and l_k = log p(X, Z_k) - log q(Z_k|X) of K draws of the guide gives

    - `elbo` = mean of l_k;
    - `log_evidence` = log mean exp(l_k), in expectation a lower bound of log P(X) (Burda, Grosse
      and Salakhutdinov, "Importance Weighted Autoencoders", 2016). With latents of many
      datapoints the weights differ so much that it is little above the ELBO: see `pareto_k`;
    - `posterior_kl` = log_evidence - elbo, a lower bound of KL[Q(Z|X) || P(Z|X)] in expectation;
    - `mean_shift`, of each latent, how far its posterior mean lies above the guide's, in posterior
      standard deviations, by the same weights: that of its numbers which is farthest. A guide may
      have light tails and the right spread, and yet be off;
    - `pareto_k` and `effective_sample_size` of the weights exp(l_k), as `evidence` has them; the
      function of that name says what they mean. The attribute `threshold` is that of `pareto_k`.

    The weights of a guide whose tails are too light have large errors, and may miss what it
    misses. With `posterior`, what `refine(pair, data, together=True)` returns, all but `elbo` is
    of its draws, and `unseen_shift` is the part of `mean_shift_error` that it says.

    Discrete latents that the guide does not draw are summed out; observed sites and factors of the
    guide do not count. Of an `AutoLaplaceApproximation` its normal is measured. Errors have the
    suffix `_error`; those of `log_evidence` and `mean_shift` hold below the threshold. Discrete
    latents and those of more than 1000 numbers have no `mean_shift`.

    Args:
        pair: any pair.
        data: all data that the guide was fitted to; of a dataset, the training split.
        draws: K.
        posterior: what `refine` returned for these data as one datapoint.
        seed: of the draws.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        A dataset of numbers in nats; `mean_shift` has the dim `latent`. The attribute
        `latent_numbers` counts the numbers of all latents.

    Raises:
        Unsupported: if a guide's site has no density, the model is no density of the data, or it
            takes only some of them, or discrete sites cannot be summed out.
        ValueError: if `draws` is below 1, the data are not valid, or `posterior` is not of one
            datapoint.

    Example:
        >>> from types import SimpleNamespace
        >>> import pyro
        >>> import pyro.distributions as dist
        >>> def model(x):
        ...     mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        ...     with pyro.plate("people", len(x)):
        ...         pyro.sample("x", dist.Normal(mean, 1.0), obs=x)
        >>> def guide(x):  # the posterior itself
        ...     count = len(x) + 1
        ...     pyro.sample("mean", dist.Normal(x.sum() / count, count**-0.5))
        >>> x = torch.tensor([0.0, 1.0, 2.0])
        >>> terms = joint_evidence(SimpleNamespace(model=model, guide=guide), x, draws=5)
        >>> round(float(terms.log_evidence), 3), round(float(terms.elbo_error), 3)
        (-4.825, 0.0)
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    if posterior is not None and posterior.table.sizes["data"] != 1:
        raise ValueError(
            f"posterior is of {posterior.table.sizes['data']} datapoints; expected what "
            "`refine(pair, data, together=True)` returned, which takes all data as one"
        )
    own, (batch, form) = pair, batch_of(pair, arguments_of(data, split="train", pair=pair))
    if isinstance(pair, Adapted):
        own, form = pair.pair, pair.form  # the data are already as the engine takes them
    arguments, keywords = form.filled(batch)
    programs = FittedPrograms(own.model, own.guide, arguments, keywords)
    with isolated(own, seed):
        with seeded(seed):
            model = programs.first_run()
        _check(programs.draw()[0], programs.draw()[0], model)
        latents = {name: site["value"] for name, site in model.items() if _is_latent(site)}
        names = [name for name, value in latents.items() if _is_kept(value)]
        drawn = at_once(pair, data, names, draws, seed)
        drawn = drawn or one_by_one(programs, names, draws, progress)
    numbers = sum(value.numel() for value in latents.values())
    terms = _reduced(drawn.log_weights, draws).assign_attrs(latent_numbers=numbers)
    if posterior is not None:
        terms = _of_posterior(terms, posterior)
    return terms.assign(mean_shifts(drawn, posterior))


def _is_latent(site: Site) -> bool:
    return not site["is_observed"] and not site["infer"].get("_deterministic")


def _is_kept(value: Tensor) -> bool:
    return value.is_floating_point() and value.numel() <= _NUMBERS


def _check(drawn: Sites, again: Sites, model: Sites) -> None:
    """Refuse what has no density, or only that of some rows."""
    for name, site in drawn.items():
        # Where a guide draws an auxiliary site, its latents are points that move with it.
        value, other = site["value"], again[name]["value"]
        moves = name in model and not (value.is_floating_point() and torch.equal(value, other))
        if isinstance(base_of(site["fn"]), dist.Delta) and not moves:
            raise Unsupported(
                f"the weights are not defined: at latent site {name!r} the guide gives a single "
                "point (Delta), which has no density"
            )
    for name, site in model.items():
        if site["is_observed"]:
            if reason := unnormalized(name, site):
                raise Unsupported(f"log P(X) is not defined: at site {name!r} {reason}")
        if any(frame.full_size not in (None, frame.size) for frame in site["cond_indep_stack"]):
            raise Unsupported(
                f"site {name!r} stands in a plate that takes some of its rows, so that log P(X) "
                "of all rows is not known from a run; pass all of them"
            )


def _reduced(log_weights: Tensor, draws: int) -> xr.Dataset:
    """Reduce log weights `(draw, 1)` to numbers."""
    elbo = log_weights.mean(0)
    log_evidence, error = log_mean_exp(log_weights)
    relative = (log_weights - log_evidence).exp()
    shape = tail_fit(log_weights).shape if draws >= FEWEST_DRAWS else torch.tensor([math.nan])
    values: dict[str, Any] = {
        "elbo": elbo,
        "log_evidence": log_evidence,
        "posterior_kl": log_evidence - elbo,
        "pareto_k": shape,
        "effective_sample_size": draws / relative.square().mean(0),
        "elbo_error": mean_error(log_weights),
        "log_evidence_error": error,
        "posterior_kl_error": mean_error(relative - log_weights),
    }
    attrs = {"units": "nats", "draws": draws, "threshold": threshold(max(draws, FEWEST_DRAWS))}
    return xr.Dataset({name: ((), float(value)) for name, value in values.items()}, attrs=attrs)


def _of_posterior(terms: xr.Dataset, posterior: GivenPosterior) -> xr.Dataset:
    """Replace what the guide's weights decide by what the draws of the posterior say."""
    table = posterior.table.isel(data=0, drop=True)
    terms = terms.assign({name: table[name] for name in _OF_POSTERIOR})
    return terms.assign(
        posterior_kl=table.log_evidence - terms.elbo,
        posterior_kl_error=np.hypot(table.log_evidence_error, terms.elbo_error),
    ).assign_attrs(threshold=table.attrs["threshold"])
