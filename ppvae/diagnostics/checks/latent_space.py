"""Checks of the latent space: which latents are used, and what information they hold."""

from dataclasses import replace

import xarray as xr

from ppvae.data import given_classes
from ppvae.diagnostics.checks.remedies import (
    latents_of,
    refitted_prior,
    warmed_up,
)
from ppvae.diagnostics.checks.subject import (
    Subject,
    all_values,
    does_not_apply,
    latent_numbers,
)
from ppvae.diagnostics.findings import Finding, Verdict, graded
from ppvae.diagnostics.latents import (
    ActiveUnits,
    Surgery,
    active_units,
    disentanglement,
    kl_per_site,
    probes,
    surgery,
)
from ppvae.diagnostics.marginal_likelihood import evidence
from ppvae.engine import Unsupported

_FEW = 10  # datapoints; the variance of a latent's mean over fewer is too uncertain
_IGNORED = 0.1  # nats of information of all latents together; below, the decoder ignores them
_UNUSED = 0.01  # nats of KL per dimension of a latent site
_DRAWS = 20


def latents(subject: Subject) -> list[Finding]:
    """Count the latents in use, and split the KL term."""
    pair, batch, seed = subject.pair, subject.batch, subject.seed
    units = active_units(pair, batch, seed=seed, progress=subject.progress)
    sites = [_sites(subject, units)] if len(units.variance) > 1 else []
    try:
        parts = surgery(pair, batch, seed=seed, progress=subject.progress)
    except Unsupported as error:
        refused = does_not_apply("aggregate and prior", error)
        return [_in_use(subject, units, None), *sites, refused]
    return [_in_use(subject, units, parts), *sites, _aggregate(subject, parts)]


def _sites(subject: Subject, units: ActiveUnits) -> Finding:
    """Measure the KL of each latent site, such as the layers of a hierarchy; name dead ones."""
    name, pair, batch = "latent sites", subject.pair, subject.batch
    try:
        terms = kl_per_site(
            pair, batch, draws=_DRAWS, seed=subject.seed, progress=subject.progress
        )
    except Unsupported as error:
        return does_not_apply(name, error)
    means = {str(site): float(terms.kl.sel(site=site).mean()) for site in terms.site.values}
    dead = [site for site, kl in means.items() if kl < _UNUSED * units.variance[site].size]
    return Finding(
        name,
        Verdict.LOOK if dead else Verdict.FINE,
        f"KL of {', '.join(f'{site} {max(0.0, kl):.2f}' for site, kl in means.items())} nats",
        f"The guide draws {', '.join(dead)} from the prior, so that it tells nothing of the data. "
        "Raise the KL weight slowly in training; of a hierarchy try the other posterior, "
        "pairs.BottomUp or pairs.Ladder.",
        {"kl_per_site": terms},
        remedy=replace(warmed_up(subject, f"{', '.join(dead)} is not in use"), nats=None),
    )


def _in_use(subject: Subject, units: ActiveUnits, parts: Surgery | None) -> Finding:
    """Count the latents whose mean varies, or that otherwise have information about the data."""
    flags = all_values(units.active) > 0
    if parts is not None:
        informed = parts.dimension_information[list(units.variance)] >= parts.threshold
        flags |= all_values(informed) > 0  # the order is the same, names of dims may differ
    count, total = int(flags.sum()), flags.size
    verdict = graded(1 - count / total, 1e-9, 1.1)
    advice = (
        "The others are noise. This does no harm, but a smaller latent space suffices. If none is "
        "in use, the decoder ignores z: raise the KL weight slowly in training."
    )
    if not count and len(subject.batch[0]) < _FEW:
        verdict = Verdict.UNKNOWN
        advice = f"{len(subject.batch[0])} datapoints are too few to tell: pass at least {_FEW}."
    elif not count and _information(subject, parts) < _IGNORED:
        verdict = Verdict.BAD
    elif not count:
        advice = "No mean of a latent varies with the data, but their distributions do."
    return Finding(
        "latents in use",
        verdict,
        f"{count} of {total} have information about the data",
        advice,
        {"active_units": units.variance},
        remedy=(
            latents_of(subject, count, "the others are noise")
            if count
            else warmed_up(subject, "the decoder ignores the latents")
        ),
    )


def _information(subject: Subject, parts: Surgery | None) -> float:
    """Return I(x; z) of all latents together in nats; the KL term where it is not known."""
    if parts is not None:
        return float(parts.terms["mean"].sel(term="mutual_information"))
    terms = evidence(subject.pair, subject.batch, draws=_DRAWS, seed=subject.seed, progress=False)
    return float(terms.kl.mean())


def _aggregate(subject: Subject, parts: Surgery) -> Finding:
    limits = parts.bounds.sel(term="marginal_kl")
    lower, upper = float(limits.lower), float(limits.upper)
    certain = lower - 2 * float(limits.lower_error)
    advice = (
        "Draws from the prior differ from the latents that the decoder was trained on: refit the "
        "prior, or use a learned one."
    )
    if "marginal_kl" in parts.undefined:
        verdict, advice = Verdict.UNKNOWN, parts.undefined["marginal_kl"]
    elif certain >= 1:
        verdict = graded(certain, 1, 5)
    elif upper < 1:
        verdict = Verdict.FINE
    else:
        verdict = Verdict.UNKNOWN
        advice = (
            f"{parts.terms.attrs['data']} datapoints are too few to tell, as their posteriors "
            "hardly overlap. A normal density fitted to the latents shows no difference from the "
            "prior."
        )
    information = parts.bounds.sel(term="mutual_information")
    return Finding(
        "aggregate and prior",
        verdict,
        f"information about the data {_between(information)} nats; KL[q(z) || p(z)] "
        f"{_between(limits)}",
        advice,
        {"surgery": parts.terms, "surgery_bounds": parts.bounds},
        remedy=refitted_prior(subject, "latents of data are not where the prior is", certain),
    )


def _between(limits: xr.Dataset) -> str:
    lower, upper = f"{float(limits.lower):.2f}", f"{float(limits.upper):.2f}"
    return lower if lower == upper else f"{lower} to {upper}"


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
            # Latents of a pair that is given the classes need not hold them.
            Verdict.FINE
            if given_classes(subject.dataset) is not None
            else graded(majority + 3 * error - max(latent.values()), 0, 1),
            f"{latent['linear']:.0%} of test labels are predicted from the latents linearly, "
            f"{latent['nearest']:.0%} by the nearest neighbor; {raw['nearest']:.0%} from the "
            f"data, {majority:.0%} by chance",
            "The latents do not separate the classes: they may be too few, or ignored by the "
            "decoder.",
            {"probes": scores},
            remedy=latents_of(subject, 2 * latent_numbers(subject), "more may hold the classes"),
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
