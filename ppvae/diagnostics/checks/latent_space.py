"""Checks of the latent space: which latents are used, and what information they hold."""

import numpy as np

from ppvae.diagnostics.checks.subject import Subject, does_not_apply
from ppvae.diagnostics.findings import Finding, Verdict, graded
from ppvae.diagnostics.latents import Surgery, active_units, disentanglement, probes, surgery
from ppvae.engine import Unsupported


def latents(subject: Subject) -> list[Finding]:
    """Count the latents in use, and split the KL term."""
    pair, batch, seed = subject.pair, subject.batch, subject.seed
    units = active_units(pair, batch, seed=seed, progress=subject.progress)
    total = sum(variance.size for variance in units.variance.values())
    unused = 1 - units.count / total
    found = [
        Finding(
            "latents in use",
            Verdict.BAD if units.count == 0 else graded(unused, 1e-9, 1.1),
            f"{units.count} of {total} vary with the data",
            "The others are noise. This does no harm, but a smaller latent space suffices. If "
            "none is in use, the decoder ignores z: raise the KL weight slowly in training.",
            {"active_units": units.variance},
        )
    ]
    try:
        parts = surgery(pair, batch, seed=seed, progress=subject.progress)
    except Unsupported as error:
        return [*found, does_not_apply("aggregate and prior", error)]
    return [*found, _aggregate(parts)]


def _aggregate(parts: Surgery) -> Finding:
    mean = {
        str(term): float(parts.terms["mean"].sel(term=term)) for term in parts.terms.term.values
    }
    gap = mean["marginal_kl"]
    return Finding(
        "aggregate and prior",
        Verdict.UNKNOWN if np.isnan(gap) else graded(gap, 1, 5),
        f"information about the data {mean['mutual_information']:.2f} nats"
        + (", the largest value for so few datapoints" if parts.saturated else "")
        + f"; KL[q(z) || p(z)] {gap:.2f}",
        parts.undefined.get("marginal_kl", "")
        or "Draws from the prior differ from the latents that the decoder was trained on: refit "
        "the prior, or use a learned one. The KL is too high with few datapoints.",
        {"surgery": parts.terms},
    )


def labels(subject: Subject) -> list[Finding]:
    """Predict the classes of test data from their posterior means."""
    assert subject.dataset is not None
    scores = probes(
        subject.pair,
        subject.dataset,
        rows=subject.effort.labeled,
        seed=subject.seed,
        progress=subject.progress,
    )
    latent, raw = (
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
            graded(majority + 3 * error - max(latent.values()), 0, 1),
            f"{latent['linear']:.0%} of test labels are predicted from the latents linearly, "
            f"{latent['nearest']:.0%} by the nearest neighbor; {raw['nearest']:.0%} from the "
            f"data, {majority:.0%} by chance",
            "The latents do not separate the classes: they may be too few, or ignored by the "
            "decoder.",
            {"probes": scores},
        )
    ]


def factors(subject: Subject) -> list[Finding]:
    """Compare single latents with known factors."""
    assert subject.dataset is not None
    scores = disentanglement(
        subject.pair,
        subject.dataset,
        rows=subject.effort.labeled,
        seed=subject.seed,
        progress=subject.progress,
    )
    gap, predicted = (scores.sel(score=name) for name in ("mig", "informativeness"))
    mean, error = float(gap["value"]), float(gap.standard_error)
    return [
        Finding(
            "factors (MIG)",
            Verdict.FINE if mean >= 0.1 else Verdict.LOOK,
            f"gap between the best latent of a factor and the next {mean:.2f} +- {error:.2f} of "
            f"1; all latents together explain {float(predicted['value']):.0%} of the factors",
            "Each factor is spread over several latents, as in most VAEs. For one latent per "
            "factor, train with TotalCorrelation_ELBO.",
            {"disentanglement": scores},
        )
    ]
