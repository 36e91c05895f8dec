"""Checks of the guide on data simulated from the model, where the true latents are known."""

import xarray as xr

from ppvae.diagnostics.calibration import (
    SimulatedRanks,
    coverage_of,
    sbc_of,
    simulated_ranks,
    vsbc_of,
)
from ppvae.diagnostics.checks.subject import ALARM, Subject, all_values, unknown
from ppvae.diagnostics.findings import Finding, Verdict, graded
from ppvae.engine import MEMORY

_DRAWS = 199  # with which regions of these levels are exact
_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


def calibration(subject: Subject) -> list[Finding]:
    """Rank true latents among the guide's draws, and count how often its regions hold them."""
    simulated = simulated_ranks(
        subject.pair,
        subject.batch,
        subject.effort.simulations,
        _DRAWS,
        seed=subject.seed,
        memory=MEMORY,
        progress=subject.progress,
    )
    found = [_ranks(simulated), _center(simulated)]
    try:
        return [*found, _regions(simulated)]
    except ValueError as error:
        return [*found, unknown("credible regions", error)]


def _alarms(p_value: xr.Dataset) -> tuple[int, int]:
    """Count the alarms, and all that could have raised one."""
    values = all_values(p_value)
    return int((values < ALARM).sum()), values.size


def _ranks(simulated: SimulatedRanks) -> Finding:
    ranked = sbc_of(simulated)
    alarms, quantities = _alarms(ranked.p_value_adjusted)
    return Finding(
        "ranks (SBC)",
        Verdict.FINE if alarms == 0 else Verdict.LOOK,
        f"{alarms} of {quantities} quantities are not as an exact guide's, on "
        f"{ranked.ranks.sizes['simulation']} simulated datapoints",
        "The guide's shift, width or correlations are off, by how much the coverage says; "
        "with many simulations the smallest error shows.",
        {"prior_sbc": ranked.ranks},
    )


def _center(simulated: SimulatedRanks) -> Finding:
    centered = vsbc_of(simulated)
    alarms, latents = _alarms(centered.p_value_adjusted)
    return Finding(
        "center (VSBC)",
        Verdict.FINE if alarms == 0 else Verdict.LOOK,
        f"it is off to one side for {alarms} of {latents} latents",
        "The encoder is biased, or the posterior is skew where the guide is not: train longer, "
        "or take a flow as posterior.",
        {"vsbc": centered.probability},
    )


def _regions(simulated: SimulatedRanks) -> Finding:
    held = coverage_of(simulated, levels=_LEVELS)
    level, share = float(held.coverage.level[-1]), float(held.coverage.joint[-1])
    error = float(held.standard_error[-1])
    off = abs(share - level)
    overconfident = "too sure of itself" if share < level else "too unsure"
    return Finding(
        "credible regions",
        Verdict.FINE if off < 3 * error else graded(off, 0, 0.05),
        f"its {level:.0%} regions hold the truth in {share:.1%} +- {error:.1%} of simulations",
        f"The guide is {overconfident}. A richer posterior or a better encoder helps.",
        {"coverage": held.coverage.assign(standard_error=held.standard_error)},
    )
