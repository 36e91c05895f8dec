"""Checks of the latent space: what is in use, and what it knows."""

import numpy as np

from ppvae.diagnostics.checks.subject import Subject, unknown
from ppvae.diagnostics.findings import Finding, Verdict, graded
from ppvae.diagnostics.latents import active_units, disentanglement, probes, surgery


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


def labels(subject: Subject) -> list[Finding]:
    """Read the classes of test data off their posterior means."""
    assert subject.dataset is not None
    scores = probes(subject.pair, subject.dataset, rows=subject.effort.labeled, seed=subject.seed)
    read, other = (
        {
            str(probe): float(scores.accuracy.sel(representation=name, probe=probe))
            for probe in kinds
        }
        for name, kinds in (("posterior mean", ("linear", "nearest")), ("data", ("nearest",)))
    )
    majority, error = float(scores.majority), float(scores.majority_error)
    return [
        Finding(
            "labels (probes)",
            graded(majority + 3 * error - max(read.values()), 0, 1),
            f"{read['linear']:.0%} of test labels are read off the latents linearly, "
            f"{read['nearest']:.0%} by the nearest neighbor; off the data "
            f"{other['nearest']:.0%}, by chance {majority:.0%}",
            "The latents do not know the classes: they may be too few, or ignored by the decoder.",
            {"probes": scores},
        )
    ]


def factors(subject: Subject) -> list[Finding]:
    """Hold single latents against known factors."""
    assert subject.dataset is not None
    scores = disentanglement(
        subject.pair,
        subject.dataset,
        rows=subject.effort.labeled,
        seed=subject.seed,
        progress=subject.progress,
    )
    gap, known = (scores.sel(score=name) for name in ("mig", "informativeness"))
    mean, error = float(gap["value"]), float(gap.standard_error)
    return [
        Finding(
            "factors (MIG)",
            Verdict.FINE if mean >= 0.1 else Verdict.LOOK,
            f"gap between the best latent of a factor and the next {mean:.2f} +- {error:.2f} of "
            f"1; all latents together tell {float(known['value']):.0%} of the factors",
            "The factors are spread over several latents, as in most VAEs: if each is to have "
            "one of its own, take TotalCorrelation_ELBO.",
            {"disentanglement": scores},
        )
    ]
