"""The evidence of all data together, for pairs with latents that all datapoints share."""

import math
from typing import Any

import pyro.distributions as dist
import torch
import xarray as xr
from torch import Tensor

from ppvae.diagnostics.export.fitted_programs import FittedPrograms
from ppvae.diagnostics.marginal_likelihood.pareto import FEWEST_DRAWS, tail_fit, threshold
from ppvae.engine import (
    Adapted,
    Data,
    Pair,
    Sites,
    Unsupported,
    arguments_of,
    base_of,
    batch_of,
    isolated,
    log_mean_exp,
    mean_error,
    progress_bar,
    seeded,
    unnormalized,
)

_NUMBERS = 1000  # of a latent whose draws are kept


def joint_evidence(
    pair: Pair,
    data: Data,
    *,
    draws: int = 1000,
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
    - `mean_shift`, of each latent outside of all plates, how far its posterior mean lies from the
      guide's, in posterior standard deviations, by the same weights: the largest of its numbers.
      A guide may have light tails and the right spread, and yet be off;
    - `pareto_k` and `effective_sample_size` of the weights exp(l_k), as `evidence` has them; the
      function of that name says what they mean. The attribute `threshold` is that of `pareto_k`.

    Discrete latents that the guide does not draw are summed out; observed sites and factors of the
    guide do not count. Of an `AutoLaplaceApproximation` its normal is measured. Errors have the
    suffix `_error`; those of `log_evidence` and `mean_shift` hold below the threshold. Latents of
    more than 1000 numbers have no `mean_shift`.

    Args:
        pair: any pair.
        data: all data that the guide was fitted to; of a dataset, the training split.
        draws: K.
        seed: of the draws.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        A dataset of numbers in nats; `mean_shift` has the dim `latent`.

    Raises:
        Unsupported: if a guide's site has no density, the model is no density of the data, or it
            takes only some of them, or discrete sites cannot be summed out.
        ValueError: if `draws` is below 1, or the data are not valid.

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
    own, (batch, form) = pair, batch_of(pair, arguments_of(data, split="train", pair=pair))
    if isinstance(pair, Adapted):
        own, form = pair.pair, pair.form  # the data are already as the engine takes them
    arguments, keywords = form.filled(batch)
    programs = FittedPrograms(own.model, own.guide, arguments, keywords)
    with isolated(own, seed):
        with seeded(seed):
            model = programs.first_run()
        _check(programs.draw()[0], programs.draw()[0], model)
        log_weights = []
        values: dict[str, list[Tensor]] = {name: [] for name in _moving(model)}
        for _ in progress_bar(range(draws), unit=" draws", progress=progress):
            drawn, log_q = programs.draw()
            log_weights.append(programs.score(drawn, log_q).log_weight)
            for name, kept in values.items():
                if name in drawn:
                    kept.append(drawn[name]["value"].detach().double().flatten())
    weights = torch.tensor(log_weights, dtype=torch.float64)[:, None]
    numbers = {name: torch.stack(kept).cpu() for name, kept in values.items() if kept}
    return _reduced(weights, draws).assign(_shifts(weights, numbers))


def _moving(model: Sites) -> list[str]:
    """Return the real latents that stand outside of all plates, but for large ones."""
    return [
        name
        for name, site in model.items()
        if not site["is_observed"]
        and not site["infer"].get("_deterministic")
        and not site["cond_indep_stack"]
        and site["value"].is_floating_point()
        and site["value"].numel() <= _NUMBERS
    ]


def _shifts(log_weights: Tensor, values: dict[str, Tensor]) -> dict[str, Any]:
    """Compare the means of values `(draw, number)` by the weights `(draw, 1)` and without."""
    relative = log_weights.softmax(0) * len(log_weights)
    shifts, errors = [], []
    for drawn in values.values():
        mean = (relative * drawn).mean(0)
        scale = (relative * (drawn - mean).square()).mean(0).sqrt()
        parts = (relative - 1) * (drawn - mean) / scale.clamp(min=torch.finfo(scale.dtype).tiny)
        distance = parts.mean(0).abs()
        largest = int(distance.argmax())
        shifts.append(float(distance[largest]))
        errors.append(float(mean_error(parts[:, largest : largest + 1])))
    latents = ("latent", list(values))
    return {
        "mean_shift": xr.DataArray(shifts, {"latent": latents}, ["latent"]),
        "mean_shift_error": xr.DataArray(errors, {"latent": latents}, ["latent"]),
    }


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
