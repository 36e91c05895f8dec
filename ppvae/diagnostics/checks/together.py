"""Check of formula (2) of all data together, for pairs with latents that all datapoints share."""

import xarray as xr
from scipy.stats import norm

from ppvae.diagnostics.checks.subject import ALARM
from ppvae.diagnostics.effort import Effort
from ppvae.diagnostics.findings import Finding, Verdict
from ppvae.diagnostics.marginal_likelihood import joint_evidence
from ppvae.diagnostics.posterior_refinement import refine
from ppvae.diagnostics.remedies import Remedy
from ppvae.engine import Data, Pair, Unsupported

_COUNTS = 0.05  # standard deviations from which on a mean is wrong
_MOST = 64  # numbers of all latents of all data that are refined
_TIMES = 20, 100  # draws for each of the effort's, the more where these leave a doubt
_VALUES = 20_000_000  # datapoints of all draws, at most
_HEAVY = (
    "Latents of many datapoints together have few effective draws: log P(X) is a lower bound, "
    "likely far too low. Below, datapoints are measured given one draw of what they share."
)
_OFF = (
    "Training has not ended, or the family of the guide does not hold the posterior of what all "
    "datapoints share: train longer, or take a richer guide, such as AutoIAFNormal, another "
    "parametrization of the model, or NUTS."
)


def together(
    pair: Pair, data: Data, rows: int, effort: Effort, seed: int, progress: bool | None
) -> list[Finding]:
    """Measure log P(X) of all data together, and how far the guide's means are off."""
    terms = _measured(pair, data, rows, effort, seed, progress)
    shape, threshold = float(terms.pareto_k), terms.attrs["threshold"]
    trusted, off = shape < threshold, _off(terms)
    missed = f"{float(terms.posterior_kl):.2f} +- {float(terms.posterior_kl_error):.2f}"
    remedy = None
    if off.sizes["latent"] and terms.attrs["latent_numbers"] <= _MOST:
        remedy = Remedy(
            "take posterior means from refined draws of all data together: the guide's are off",
            "ppvae.refine(pair, data, together=True).means",
        )
    return [
        Finding(
            "all data together",
            Verdict.FINE if trusted and not off.sizes["latent"] else Verdict.LOOK,
            f"log P(X) {float(terms.log_evidence):.2f} +- {float(terms.log_evidence_error):.2f}, "
            f"ELBO {float(terms.elbo):.2f} +- {float(terms.elbo_error):.2f} nats; the guide "
            f"misses {'' if trusted else 'at least '}{missed}; Pareto k {shape:.2f}"
            f"{_said(terms, off)}",
            _OFF if trusted else _HEAVY,
            {"all_data": terms},
            remedy=remedy,
        )
    ]


def _measured(
    pair: Pair, data: Data, rows: int, effort: Effort, seed: int, progress: bool | None
) -> xr.Dataset:
    """Measure by refined draws where there are few latents and these draws can be trusted."""
    terms = joint_evidence(pair, data, draws=effort.draws, seed=seed, progress=progress)
    for times in _TIMES if terms.attrs["latent_numbers"] <= _MOST else ():
        draws = max(effort.draws, min(times * effort.draws, _VALUES // rows))
        try:
            refined = refine(pair, data, together=True, draws=draws, seed=seed, progress=progress)
        except Unsupported:  # the programs do not take a dimension left of their plates
            break
        if not bool(refined.table.trusted.all()):
            break
        terms = joint_evidence(
            pair, data, draws=draws, posterior=refined, seed=seed, progress=progress
        )
        shift = abs(terms.mean_shift)
        if not bool(((shift > _COUNTS) & (shift <= _chance(terms))).any()):
            break
    return terms


def _off(terms: xr.Dataset) -> xr.Dataset:
    """Return the latents whose mean is off by more than what counts, and not by chance."""
    shift = abs(terms.mean_shift)
    return terms.isel(latent=((shift > _COUNTS) & (shift > _chance(terms))).values)


def _chance(terms: xr.Dataset) -> xr.DataArray:
    """Return what the shifts of an exact pair stay below, but for the rate of false alarms."""
    tests = len(_TIMES) * max(1, terms.attrs["latent_numbers"])
    return float(norm.isf(ALARM / 2 / tests)) * terms.mean_shift_error


def _said(terms: xr.Dataset, off: xr.Dataset) -> str:
    if not terms.sizes["latent"]:
        return ""
    if off.sizes["latent"]:
        worst = off.sortby(-abs(off.mean_shift))
        listed = ", ".join(_shift(worst.isel(latent=place)) for place in range(len(off.latent)))
        return f"; posterior means are off the guide's, in standard deviations: {listed}"
    farthest = terms.isel(latent=int(abs(terms.mean_shift).values.argmax()))
    return f"; farthest of the posterior means from the guide's: {_shift(farthest)} sds"


def _shift(one: xr.Dataset) -> str:
    shift, error = float(one.mean_shift), float(one.mean_shift_error)
    return f"{str(one.latent.values)!r} {shift:+.2f} +- {error:.2f}"
