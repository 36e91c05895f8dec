"""Check of formula (2) of all data together, for pairs with latents that all datapoints share."""

import xarray as xr

from ppvae.diagnostics.effort import Effort
from ppvae.diagnostics.findings import Finding, Verdict
from ppvae.diagnostics.marginal_likelihood import joint_evidence
from ppvae.engine import Data, Pair

_COUNTS = 0.05  # standard deviations from which on a mean is wrong
_HEAVY = (
    "Latents of many datapoints together have few effective draws: log P(X) is a lower bound, "
    "likely far too low. Below, datapoints are measured given one draw of what they share."
)
_OFF = (
    "The family of the guide does not hold the posterior of what all datapoints share: use "
    "AutoMultivariateNormal, another parametrization of the model, or NUTS."
)


def together(
    pair: Pair, data: Data, effort: Effort, seed: int, progress: bool | None
) -> list[Finding]:
    """Measure log P(X) of all data together, and the tail of its weights."""
    terms = joint_evidence(pair, data, draws=effort.draws, seed=seed, progress=progress)
    shape, threshold = float(terms.pareto_k), terms.attrs["threshold"]
    trusted = shape < threshold
    missed = f"{float(terms.posterior_kl):.2f} +- {float(terms.posterior_kl_error):.2f}"
    off, where = _farthest(terms)
    return [
        Finding(
            "all data together",
            Verdict.FINE if trusted and off <= 0 else Verdict.LOOK,
            f"log P(X) {float(terms.log_evidence):.2f} +- {float(terms.log_evidence_error):.2f}, "
            f"ELBO {float(terms.elbo):.2f} +- {float(terms.elbo_error):.2f} nats; the guide "
            f"misses {'' if trusted else 'at least '}{missed}; Pareto k {shape:.2f}{where}",
            _OFF if trusted else _HEAVY,
            {"all_data": terms},
        )
    ]


def _farthest(terms: xr.Dataset) -> tuple[float, str]:
    """Return how far the worst shared latent is surely off beyond what counts, and say it."""
    if not terms.sizes["latent"]:
        return 0.0, ""
    sure = terms.mean_shift - 4 * terms.mean_shift_error - _COUNTS
    worst = terms.isel(latent=int(sure.values.argmax()))
    said = f"{float(worst.mean_shift):.2f} +- {float(worst.mean_shift_error):.2f}"
    return float(sure.max()), (
        f"; the posterior mean of {str(worst.latent.values)!r} is {said} standard deviations from "
        "the guide's"
    )
