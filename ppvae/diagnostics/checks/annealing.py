"""The check of log P(X) by annealing, and of annealing by bounds from both sides."""

from ppvae.diagnostics.checks.subject import Subject
from ppvae.diagnostics.findings import Finding, Verdict, graded
from ppvae.diagnostics.marginal_likelihood import bdmc, bound_table
from ppvae.engine import Batch


def annealed(subject: Subject) -> list[Finding]:
    """Compare log P(X) with annealed importance sampling, and with bounds from both sides."""
    batch = tuple(tensor[: subject.effort.annealed] for tensor in subject.batch)
    return [_annealed(subject, batch), _both_sides(subject, batch)]


def _annealed(subject: Subject, batch: Batch) -> Finding:
    table = bound_table(
        subject.pair,
        batch,
        draws=subject.effort.draws,
        temperatures=subject.effort.temperatures,
        seed=subject.seed,
        progress=subject.progress,
    )
    mean = {str(bound): float(table["mean"].sel(bound=bound)) for bound in table.bound.values}
    error = float(table.mean_error.sel(bound="ais"))
    verdict, advice = Verdict.LOOK, "Annealing has not converged: use more temperatures."
    if bool(table.mean_converged):
        verdict = graded(mean["ais"] - mean["importance"], 4 * error + 0.1, 5)
        advice = "The guide misses part of the posterior: the higher value is the better one."
    return Finding(
        "annealing (AIS)",
        verdict,
        f"log P(X) of {table.sizes['data']} datapoints {mean['ais']:.2f} +- {error:.2f}, by "
        f"importance sampling {mean['importance']:.2f}",
        advice,
        {"bounds": table},
    )


def _both_sides(subject: Subject, batch: Batch) -> Finding:
    sides = bdmc(
        subject.pair,
        batch,
        simulations=subject.effort.annealed,
        temperatures=subject.effort.temperatures,
        seed=subject.seed,
        progress=subject.progress,
    )
    width = float(sides.gap)
    return Finding(
        "bounds (BDMC)",
        graded(width, 0.1, 1),
        f"for simulated datapoints, log P(X) is known to within {width:.3f} nats",
        "Annealing is too fast for this pair: use more temperatures.",
        {"bdmc": sides},
    )
