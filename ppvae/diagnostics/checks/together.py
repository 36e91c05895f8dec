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
_DOUBT = (
    "The draws are too few to tell whether these means are off by more than 0.05: diagnose with "
    "more draws of an `Effort`."
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
    off, doubtful = _off(terms)
    shape = float(terms.pareto_k)
    trusted = _is_refined(terms) or shape < terms.attrs["threshold"]
    verdict = Verdict.LOOK if off.sizes["latent"] or not trusted else Verdict.FINE
    if verdict is Verdict.FINE and doubtful.sizes["latent"]:
        verdict = Verdict.UNKNOWN
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
            verdict,
            f"log P(X) {float(terms.log_evidence):.2f} +- {float(terms.log_evidence_error):.2f}, "
            f"ELBO {float(terms.elbo):.2f} +- {float(terms.elbo_error):.2f} nats; the guide "
            f"misses {'' if trusted else 'at least '}{missed}; Pareto k {shape:.2f}"
            f"{_said(terms, off, doubtful)}",
            _HEAVY if not trusted else _OFF if off.sizes["latent"] else _DOUBT,
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
        if not _off(terms)[1].sizes["latent"]:
            break
    return terms


def _off(terms: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the latents whose mean is off by more than what counts, surely and perhaps."""
    shift = abs(terms.mean_shift)
    sure = (shift > _COUNTS) & (shift > _chance(terms))
    perhaps = (shift > _COUNTS) & ~sure
    return terms.isel(latent=sure.values), terms.isel(latent=perhaps.values)


def _chance(terms: xr.Dataset) -> xr.DataArray:
    """Return what the shifts of an exact pair stay below, but for the rate of false alarms."""
    tests = len(_TIMES) * max(1, terms.attrs["latent_numbers"])
    # What may be unseen is stated once, as the most that it may be; the rest is chance.
    unseen = terms.unseen_shift if _is_refined(terms) else 0.0
    variance = (terms.mean_shift_error**2 - unseen**2).clip(min=0)
    chance: xr.DataArray = float(norm.isf(ALARM / 2 / tests)) * variance**0.5 + unseen
    return chance


def _is_refined(terms: xr.Dataset) -> bool:
    return "unseen_shift" in terms


def _said(terms: xr.Dataset, off: xr.Dataset, doubtful: xr.Dataset) -> str:
    if not terms.sizes["latent"]:
        return ""
    if off.sizes["latent"]:
        return f"; posterior means are off the guide's, in standard deviations: {_shifts(off)}"
    if doubtful.sizes["latent"]:
        return (
            "; posterior means may be off the guide's, in standard deviations: "
            f"{_shifts(doubtful)}"
        )
    farthest = terms.isel(latent=[int(abs(terms.mean_shift).values.argmax())])
    return f"; farthest of the posterior means from the guide's: {_shifts(farthest)} sds"


def _shifts(terms: xr.Dataset) -> str:
    """List latents with the shift of their mean, the largest first."""
    ordered = terms.sortby(-abs(terms.mean_shift))
    columns = (ordered.latent, ordered.mean_shift, ordered.mean_shift_error)
    rows = zip(*(column.values for column in columns), strict=True)
    return ", ".join(f"{str(name)!r} {shift:+.2f} +- {error:.2f}" for name, shift, error in rows)
