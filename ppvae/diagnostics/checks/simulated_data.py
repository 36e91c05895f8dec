"""Checks of the guide on data simulated from the model, where the true latents are known."""

import xarray as xr

from ppvae.diagnostics.calibration import (
    SimulatedRanks,
    coverage_of,
    sbc_of,
    simulated_ranks,
    vsbc_of,
)
from ppvae.diagnostics.checks.remedies import refined
from ppvae.diagnostics.checks.subject import ALARM, Subject, all_values, does_not_apply
from ppvae.diagnostics.findings import Finding, Verdict, graded
from ppvae.diagnostics.remedies import Remedy
from ppvae.engine import MEMORY, Unsupported

_DRAWS = 199  # regions of the levels below are exact with 199 draws
_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


def calibrated(subject: Subject) -> list[Finding]:
    """Rank true latents among the guide's draws, and count how often its regions contain them."""
    simulated = simulated_ranks(
        subject.pair,
        subject.batch,
        subject.effort.simulations,
        _DRAWS,
        seed=subject.seed,
        memory=MEMORY,
        progress=subject.progress,
    )
    remedy = refined(subject, "the guide is off on data of the model", cause="gaps")
    found = [_ranks(simulated, remedy), _center(simulated, remedy)]
    try:
        return [*found, _regions(simulated, remedy)]
    except Unsupported as error:
        return [*found, does_not_apply("credible regions", error)]


def _alarms(p_value: xr.Dataset) -> tuple[int, int, float]:
    """Return the number of alarms, the number of tests, and the smallest p-value."""
    values = all_values(p_value)
    return int((values < ALARM).sum()), values.size, float(values.min())


def _ranks(simulated: SimulatedRanks, remedy: Remedy) -> Finding:
    ranked = sbc_of(simulated)
    alarms, quantities, smallest = _alarms(ranked.p_value_adjusted)
    return Finding(
        "ranks (SBC)",
        Verdict.FINE if alarms == 0 else Verdict.LOOK,
        f"{alarms} of {quantities} quantities differ from those of an exact guide, on "
        f"{ranked.ranks.sizes['simulation']} simulated datapoints",
        "The guide's location, width or correlations are wrong; the credible regions say by how "
        "much. With many simulations even small errors are detected.",
        {"prior_sbc": ranked.ranks},
        smallest,
        remedy,
    )


def _center(simulated: SimulatedRanks, remedy: Remedy) -> Finding:
    centered = vsbc_of(simulated)
    alarms, latents, smallest = _alarms(centered.p_value_adjusted)
    return Finding(
        "center (VSBC)",
        Verdict.FINE if alarms == 0 else Verdict.LOOK,
        f"the guide is shifted to one side for {alarms} of {latents} latents",
        "The encoder is biased, or the posterior is skewed and the guide is not: train longer, "
        "or use a flow as posterior.",
        {"vsbc": centered.probability},
        smallest,
        remedy,
    )


def _regions(simulated: SimulatedRanks, remedy: Remedy) -> Finding:
    held = coverage_of(simulated, levels=_LEVELS)
    level, share = float(held.coverage.level[-1]), float(held.coverage.joint[-1])
    error, p_value = float(held.standard_error[-1]), float(held.p_value.joint[-1])
    width = "too narrow" if share < level else "too wide"
    return Finding(
        "credible regions",
        # Only a difference beyond chance counts: it is 0.05 by chance with few simulations.
        Verdict.FINE if p_value >= ALARM else graded(abs(share - level) - 2 * error, -1, 0.05),
        f"{level:.0%} regions contain the true latents in {share:.1%} +- {error:.1%} of "
        "simulations",
        f"The guide is {width}. Use a more flexible posterior or a better encoder.",
        {"coverage": held.coverage.assign(standard_error=held.standard_error)},
        p_value,
        remedy,
    )
