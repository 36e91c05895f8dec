"""Each diagnostic as a check: what it found, and what to think of it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ppvae.batches import Batch
from ppvae.diagnostics.amortization import gaps
from ppvae.diagnostics.annealing import bdmc
from ppvae.diagnostics.bounds import bound_table
from ppvae.diagnostics.calibration import sbc
from ppvae.diagnostics.credible_regions import coverage
from ppvae.diagnostics.effort import Effort
from ppvae.diagnostics.findings import Finding, Verdict, graded
from ppvae.diagnostics.importance import evidence, summarize
from ppvae.diagnostics.latents import active_units
from ppvae.diagnostics.predictive_ranks import pit
from ppvae.diagnostics.surgery import surgery
from ppvae.traces import Pair

_ALARM = 0.01  # family-wise, of each diagnostic


@dataclass(frozen=True)
class Subject:
    """What is looked at, and how closely."""

    pair: Pair
    batch: Batch
    rows: NDArray[np.int64]  # of the user's data, which `batch` was chosen from
    effort: Effort
    seed: int
    progress: bool | None


Check = Callable[[Subject], list[Finding]]


def formula_two(subject: Subject) -> list[Finding]:
    """Measure log P(X), what the guide misses of it, and the tails of the weights."""
    effort = subject.effort
    terms = evidence(
        subject.pair,
        subject.batch,
        draws=effort.draws,
        seed=subject.seed,
        progress=subject.progress,
    ).assign_coords(data=subject.rows)
    table = summarize(terms)
    of = {str(term): table.sel(term=term) for term in table.term.values}
    log_p, missed = of["log_evidence"], of["posterior_kl"]
    answer = (
        f"log P(X) {_with_error(log_p)}, ELBO {_with_error(of['elbo'])} nats a datapoint; the "
        f"guide misses {_with_error(missed)}"
    )
    advice = (
        "The guide is far from the posterior p(z|x). The gaps say whether a richer family or a "
        "better encoder would help; the model itself may be fine."
    )
    verdict = graded(float(missed["mean"]), look=1, bad=10)
    found = [Finding("guide, KL[Q||P(z|X)]", verdict, answer, advice, {"evidence": terms})]
    above = float((terms.pareto_k > terms.attrs["threshold"]).mean())
    worst = terms.data.values[np.argsort(-terms.pareto_k.values)[:5]]
    answer = (
        f"Pareto k is above {terms.attrs['threshold']:.2f} for {above:.1%} of the datapoints; "
        f"effective draws {float(terms.effective_sample_size.median()):.0f} of {effort.draws}"
    )
    advice = (
        "There the guide is too narrow somewhere, log P(X) is too low and its error too small: "
        f"take more draws, or level deep. Worst rows: {', '.join(map(str, worst))}."
    )
    return [*found, Finding("importance weights", graded(above, 0.01, 0.1), answer, advice)]


def latents(subject: Subject) -> list[Finding]:
    """Count the latents in use, and split the KL term."""
    pair, batch, seed = subject.pair, subject.batch, subject.seed
    units = active_units(pair, batch, seed=seed)
    total = sum(variance.size for variance in units.variance.values())
    unused = 1 - units.count / total
    found = [
        Finding(
            "latents in use",
            Verdict.BAD if units.count == 0 else graded(unused, 1e-9, 1.1),
            f"{units.count} of {total} vary with the data",
            "The others hold only noise: harmless, but a smaller latent space would do. If none "
            "is in use, the decoder ignores z: warm the KL up.",
            {"active_units": units.variance},
        )
    ]
    try:
        parts = surgery(pair, batch, seed=seed, progress=subject.progress)
    except ValueError as error:
        return [*found, unknown("aggregate and prior", error)]
    mean = {
        str(term): float(parts.terms["mean"].sel(term=term)) for term in parts.terms.term.values
    }
    gap = mean["marginal_kl"]
    return [
        *found,
        Finding(
            "aggregate and prior",
            Verdict.UNKNOWN if np.isnan(gap) else graded(gap, 1, 5),
            f"latents tell {mean['mutual_information']:.2f} nats of the data"
            + (", the most that so many can show" if parts.saturated else "")
            + f"; KL[q(z) || p(z)] {gap:.2f}",
            parts.undefined.get("marginal_kl", "")
            or "Samples from the prior differ from what the decoder was trained on: refit the "
            "prior, or take a learned one. Biased upwards with few datapoints.",
            {"surgery": parts.terms},
        ),
    ]


def calibration(subject: Subject) -> list[Finding]:
    """Rank true latents among the guide's, and count how often its regions hold them."""
    pair, batch, effort = subject.pair, subject.batch, subject.effort
    simulations = effort.simulations
    ranked = sbc(
        pair, batch, simulations=simulations, seed=subject.seed, progress=subject.progress
    )
    p_values = _all(ranked.p_value_adjusted)
    alarms = int((p_values < _ALARM).sum())
    found = [
        Finding(
            "ranks (SBC)",
            Verdict.FINE if alarms == 0 else Verdict.LOOK,
            f"{alarms} of {len(p_values)} quantities are not as an exact guide's, on "
            f"{simulations} simulated datapoints",
            "The guide's shift, width or correlations are off, by how much the coverage says; "
            "with many simulations the smallest error shows.",
            {"prior_sbc": ranked.ranks},
        )
    ]
    held = coverage(
        pair,
        batch,
        simulations=simulations,
        levels=(0.5, 0.9),
        seed=subject.seed,
        progress=subject.progress,
    )
    joint = held.coverage.joint.isel(level=1)
    level, share = float(held.coverage.level[1]), float(joint)
    error = float(held.standard_error[1])
    off = abs(share - level)
    overconfident = "too sure of itself" if share < level else "too unsure"
    return [
        *found,
        Finding(
            "credible regions",
            Verdict.FINE if off < 3 * error else graded(off, 0, 0.05),
            f"its {level:.0%} regions hold the truth in {share:.1%} +- {error:.1%} of simulations",
            f"The guide is {overconfident}. A richer posterior or a better encoder helps.",
            {"coverage": held.coverage},
        ),
    ]


def predictions(subject: Subject) -> list[Finding]:
    """Rank each observed feature among replicates."""
    ranked = pit(subject.pair, subject.batch, seed=subject.seed, progress=subject.progress)
    p_values = _all(ranked.p_value_adjusted)
    share = float((p_values < _ALARM).mean())
    return [
        Finding(
            "likelihood (PIT)",
            graded(share, 1e-9, 0.1),
            f"{share:.1%} of {p_values.size} features are not distributed as the likelihood says",
            "The likelihood is too narrow, too wide or of the wrong shape there; or the guide is, "
            "which the ranks (SBC) tell.",
            {"pit": ranked.p_value},
        )
    ]


def search(subject: Subject) -> list[Finding]:
    """Split what the guide misses into what its family costs and what its encoder costs."""
    batch = tuple(tensor[: subject.effort.searched] for tensor in subject.batch)
    table = gaps(subject.pair, batch, seed=subject.seed, progress=subject.progress)
    table = table.assign_coords(data=subject.rows[: table.sizes["data"]])
    summary = summarize(table)
    of = {str(term): summary.sel(term=term) for term in summary.term.values}
    larger = max("approximation", "amortization", key=lambda name: float(of[name]["mean"]))
    remedy = {
        "approximation": "Most of it is the family's: take a richer posterior.",
        "amortization": "Most of it is the encoder's: take a larger network, or train longer.",
    }[larger]
    moving = 1 - float(table.converged.mean())
    return [
        Finding(
            "gaps",
            graded(float(of["total"]["mean"]), 1, 10),
            f"of {_with_error(of['total'])} nats the family costs "
            f"{_with_error(of['approximation'])}, the encoder {_with_error(of['amortization'])}",
            remedy + (f" The search was not at its end for {moving:.0%}." if moving else ""),
            {"gaps": table},
        )
    ]


def annealing(subject: Subject) -> list[Finding]:
    """Hold log P(X) against annealed importance sampling, and against bounds from both sides."""
    effort, pair = subject.effort, subject.pair
    batch = tuple(tensor[: effort.annealed] for tensor in subject.batch)
    table = bound_table(
        pair,
        batch,
        draws=effort.draws,
        temperatures=effort.temperatures,
        seed=subject.seed,
        progress=subject.progress,
    )
    mean = {str(bound): float(table["mean"].sel(bound=bound)) for bound in table.bound.values}
    error = float(table.mean_error.sel(bound="ais"))
    more = mean["ais"] - mean["importance"]
    ended = bool(table.mean_converged)
    found = [
        Finding(
            "annealing (AIS)",
            graded(more, 4 * error + 0.1, 5) if ended else Verdict.LOOK,
            f"log P(X) of {effort.annealed} datapoints {mean['ais']:.2f} +- {error:.2f}, by "
            f"importance sampling {mean['importance']:.2f}",
            "The guide misses part of the posterior: believe the higher value."
            if ended
            else "Annealing has not converged: it needs more temperatures.",
            {"bounds": table},
        )
    ]
    sides = bdmc(
        pair,
        batch,
        simulations=effort.annealed,
        temperatures=effort.temperatures,
        seed=subject.seed,
        progress=subject.progress,
    )
    width = float(sides.gap)
    return [
        *found,
        Finding(
            "bounds (BDMC)",
            graded(width, 0.1, 1),
            f"on simulated datapoints, log P(X) is known to {width:.3f} nats",
            "The annealing is too fast for this pair: more temperatures.",
            {"bdmc": sides},
        ),
    ]


def checks(effort: Effort) -> tuple[dict[str, Check], dict[str, str]]:
    """Return the checks that are asked for by name, and what is not asked with what would ask."""
    asked: dict[str, Check] = {"guide": formula_two, "latents": latents, "likelihood": predictions}
    left: dict[str, str] = {}
    for name, check, amount, level in (
        ("calibration", calibration, effort.simulations, "standard"),
        ("gaps", search, effort.searched, "standard"),
        ("annealing", annealing, effort.annealed, "deep"),
    ):
        if amount:
            asked[name] = check
        else:
            left[name] = level
    return asked, left


def unknown(name: str, error: Exception) -> Finding:
    """Return the finding that a check does not apply, and why."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return Finding(name, Verdict.UNKNOWN, "does not apply", first)


def _all(values: xr.Dataset) -> NDArray[np.float64]:
    return np.concatenate([array.values.ravel() for array in values.values()])


def _with_error(row: xr.Dataset) -> str:
    return f"{float(row['mean']):.2f} +- {float(row['standard_error']):.2f}"
