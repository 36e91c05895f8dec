"""The remedies that checks name, for the pair and the data that were checked."""

import math

from torch.distributions import constraints

from ppvae.data import Dataset
from ppvae.diagnostics.checks.subject import Subject, latent_numbers
from ppvae.diagnostics.remedies import Remedy
from ppvae.likelihoods import (
    Binomial,
    DiscretizedLogisticMixture,
    Likelihood,
    NegativeBinomial,
    Normal,
    Poisson,
)
from ppvae.posteriors import DiagonalNormal, LowRankNormal, Posterior

_PATIENCE = 20  # evaluations
_EPOCHS = 50  # in which the weight of the KL term rises
_MINIBATCH = 128
_COMPONENTS = 5  # of a mixture
_TIMES = 5  # as many draws


def refined(subject: Subject, why: str, nats: float | None = None, cause: str = "") -> Remedy:
    """Search the posterior of each datapoint; it serves any pair, and changes no weights."""
    return Remedy(
        f"refine the posterior of each datapoint: {why}",
        f"ppvae.refine(pair, {_measured(subject)})",
        f"ppvae refine {{run}} --split {subject.split}",
        nats,
        cause,
    )


def more_draws(subject: Subject, why: str) -> Remedy:
    """Refine with more draws, of which heavier tails can be trusted."""
    draws = _TIMES * subject.effort.draws
    return Remedy(
        f"refine with more draws: {why}",
        f"ppvae.refine(pair, {_measured(subject)}, draws={draws})",
        f"ppvae refine {{run}} --split {subject.split} --draws {draws}",
    )


def richer_family(subject: Subject, why: str, nats: float) -> Remedy:
    """Train again with all correlations of the latents, where the posterior has not got them."""
    posterior = getattr(subject.pair, "posterior", None)
    if not _is_assembled(subject) or not isinstance(posterior, DiagonalNormal | LowRankNormal):
        return refined(subject, why, nats)
    return _retrained(
        subject,
        f"train with a posterior of full rank: {why}",
        ", posterior=ppvae.posteriors.FullRankNormal",
        " --posterior FullRankNormal",
        nats,
    )


def stopped_early(subject: Subject, why: str) -> Remedy:
    """Train again, and keep the weights that are best on validation data."""
    call = (
        "ppvae.fit(pair, data, "
        f"callbacks=[ppvae.inference.EarlyStopping({_PATIENCE})])  # from new weights"
    )
    if _is_assembled(subject):
        call = f"{_assembled(subject)}\n{call.partition('  #')[0]}"
    return Remedy(
        f"train again and stop early: {why}",
        call,
        f"ppvae fit --config {{run}}/config.yaml --patience {_PATIENCE}",
    )


def warmed_up(subject: Subject, why: str) -> Remedy:
    """Train again with a KL weight that rises, so that the decoder learns to use the latents."""
    rows = len(subject.batch[0]) if subject.dataset is None else len(subject.dataset.train)
    steps = _EPOCHS * math.ceil(rows / _MINIBATCH)
    call = f"ppvae.fit(pair, data, kl_weight=ppvae.inference.LinearWarmup({steps}))"
    call = f"{_assembled(subject)}\n{call}" if _is_assembled(subject) else call
    return Remedy(
        f"train again with a KL weight that rises from 0: {why}",
        call,
        "ppvae fit --config {run}/config.yaml --kl_weight LinearWarmup "
        f"--kl_weight.steps {steps}",
        math.inf,  # without latents there is nothing else to gain
    )


def latents_of(subject: Subject, count: int, why: str) -> Remedy | None:
    """Train again with another number of latents."""
    if not _is_assembled(subject):
        return None
    return Remedy(
        f"train with {count} latents: {why}",
        f"pair = ppvae.pairs.assemble(data, latent={count})\nppvae.fit(pair, data)",
        f"ppvae fit --config {{run}}/config.yaml --latent {count}",
    )


def other_likelihood(subject: Subject, why: str, nats: float | None = None) -> Remedy:
    """Train again with a likelihood of more freedom, where there is one for these data."""
    likelihood, before = getattr(subject.pair, "likelihood", None), ""
    dataset = _dataset(subject)
    if dataset is None:
        return Remedy(
            f"look at each feature, and change the likelihood: {why}",
            f"ppvae.diagnostics.pit(pair, {_measured(subject)}).deviation",
            "ppvae sample {run}",
            nats,
        )
    if isinstance(likelihood, Binomial):
        name, options = "DiscretizedLogisticMixture", {"highest": likelihood.total_count}
    elif isinstance(likelihood, DiscretizedLogisticMixture):
        more = {"components": likelihood.components + _COMPONENTS, "highest": likelihood.highest}
        name, options = "DiscretizedLogisticMixture", more
    elif isinstance(likelihood, Poisson):
        name, options = "NegativeBinomial", {}
    elif isinstance(likelihood, NegativeBinomial):
        name, options = "ZeroInflatedNegativeBinomial", {}
    elif isinstance(likelihood, Normal) and dataset.support is constraints.real:
        name, options = "StudentT", {}
    else:
        return stopped_early(subject, why)
    made = f"ppvae.likelihoods.{name}"
    if options:  # on a line of its own, which stays short enough
        given = "".join(f", {option}={value}" for option, value in options.items())
        before, made = f"family = lambda net: {made}(net{given})\n", "family"
    words = "".join(f" --likelihood.{option} {value}" for option, value in options.items())
    return _retrained(
        subject,
        f"train with another likelihood: {why}",
        f", likelihood={made}",
        f" --likelihood {name}{words}",
        nats,
        before,
    )


def refitted_prior(subject: Subject, why: str, nats: float | None = None) -> Remedy | None:
    """Fit a mixture as prior to the latents of the training data."""
    dataset = _dataset(subject)
    if dataset is None or dataset.conditions:
        return None
    latent = latent_numbers(subject)
    return Remedy(
        f"fit the prior to the latents: {why}",
        f"pair = ppvae.refit_prior(pair, data, ppvae.priors.NormalMixture({latent}))",
        "ppvae fit --config {run}/config.yaml --prior NormalMixture",
        nats,
    )


def given_classes_of_full_rank(subject: Subject, why: str, nats: float | None = None) -> Remedy:
    """Train again with a prior of each class and a full-rank posterior, all given the class."""
    return _retrained(
        subject,
        f"train with a prior of each class and a posterior of full rank: {why}",
        ", posterior=ppvae.posteriors.FullRankNormal",
        " --conditional true --posterior FullRankNormal",
        nats,
    )


def more_temperatures(subject: Subject, why: str) -> Remedy:
    """Anneal more slowly."""
    count = 10 * subject.effort.temperatures
    return Remedy(
        f"anneal with more temperatures: {why}",
        f"ppvae.diagnostics.bound_table(pair, {_measured(subject)}, temperatures={count})",
        f"ppvae refine {{run}} --split {subject.split}",
    )


def _retrained(
    subject: Subject, reason: str, argument: str, words: str, nats: float | None, before: str = ""
) -> Remedy:
    return Remedy(
        reason,
        f"{before}{_assembled(subject, argument)}\nppvae.fit(pair, data)",
        f"ppvae fit --config {{run}}/config.yaml{words}",
        nats,
    )


def _assembled(subject: Subject, argument: str = "") -> str:
    latent = latent_numbers(subject)
    return f"pair = ppvae.pairs.assemble(data, latent={latent}{argument})"


def _is_assembled(subject: Subject) -> bool:
    return _dataset(subject) is not None


def _dataset(subject: Subject) -> Dataset | None:
    """Return the dataset, if `pairs.assemble` makes such a pair of it: one of our factors.

    A pair of another structure is made by a class method `of`.
    """
    factors = getattr(subject.pair, "posterior", None), getattr(subject.pair, "likelihood", None)
    made = isinstance(factors[0], Posterior) and isinstance(factors[1], Likelihood)
    return subject.dataset if made and "of" not in vars(type(subject.pair)) else None


def _measured(subject: Subject) -> str:
    """Return the data of the split that was checked; of a dataset, test data by themselves."""
    if subject.dataset is None or subject.split == "test":
        return "data"
    return f'data.batch("{subject.split}")'
