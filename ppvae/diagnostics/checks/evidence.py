"""Checks of formula (2): log P(X), what the guide misses of it, and why."""

import numpy as np

from ppvae.diagnostics.checks.subject import Subject, with_error
from ppvae.diagnostics.findings import Finding, Verdict, graded
from ppvae.diagnostics.inference_gaps import gaps
from ppvae.diagnostics.marginal_likelihood import bdmc, bound_table, evidence, summarize


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
        f"log P(X) {with_error(log_p)}, ELBO {with_error(of['elbo'])} nats a datapoint; the "
        f"guide misses {with_error(missed)}"
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
            f"of {with_error(of['total'])} nats the family costs "
            f"{with_error(of['approximation'])}, the encoder {with_error(of['amortization'])}",
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
