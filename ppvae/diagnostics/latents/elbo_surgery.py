"""The parts of the KL term: information about the data, and KL from aggregate to prior."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
import xarray as xr
from torch import Tensor

from ppvae.diagnostics.failed_rows import sound
from ppvae.diagnostics.given_posterior import (
    GivenPosterior,
    check_given,
    drawn_from,
    with_its_latents,
)
from ppvae.diagnostics.latents.aggregate import Aggregate
from ppvae.diagnostics.latents.dependence import changed_by_data, changed_by_draws
from ppvae.diagnostics.latents.dimensions import by_site, factorizes, flagged, log_densities
from ppvae.diagnostics.latents.normal_bound import held_out_normal
from ppvae.diagnostics.latents.posterior_aggregate import (
    PosteriorAggregate,
    known_evidence,
    undefined_of_posterior,
)
from ppvae.diagnostics.latents.surgery_tables import TERMS, bounds, summary
from ppvae.diagnostics.names import names_of
from ppvae.engine import (
    MEMORY,
    PLATE,
    Batch,
    Data,
    Draws,
    Pair,
    Sites,
    Structure,
    Unsupported,
    adapted,
    depends_on_enumerated,
    draw_chunks,
    execute,
    is_masked,
    isolated,
    own_draws_alone,
    plates,
    progress_bar,
    refuse_without_latents,
    seeded,
)

_MARGIN = 1.0  # nats below log N; there a draw's own datapoint has 1/e of its total density


@dataclass(frozen=True)
class Surgery:
    """What `surgery` measures.

    Args:
        terms: `mean`, `standard_error` and `monte_carlo_error` of every term in nats per
            datapoint, dims `(term,)`.
        bounds: of `mutual_information` and `marginal_kl` for the source of the data, in nats:
            `lower` and `upper`, each with its standard error, `lower_error` and `upper_error`,
            dims `(term,)`.
        dimension_information: I(x; z_i) of each latent dimension in nats, a variable a site.
        dimension_kl: KL[q(z_i) || p(z_i)] of each latent dimension in nats, likewise.
        undefined: the terms that are NaN because the pair does not have them, with the reason.
        threshold: the information in nats below which a dimension is dead.
    """

    terms: xr.Dataset
    bounds: xr.Dataset
    dimension_information: xr.Dataset
    dimension_kl: xr.Dataset
    undefined: Mapping[str, str]
    threshold: float

    @property
    def saturated(self) -> bool:
        """Whether I(x; z) is within a nat of log N, its largest value for N datapoints."""
        information = float(self.terms["mean"].sel(term="mutual_information"))
        return information > math.log(self.terms.attrs["data"]) - _MARGIN

    @property
    def dead(self) -> tuple[str, ...]:
        """The dimensions with less information than the threshold, such as "z[1]"."""
        return flagged(self.dimension_information < self.threshold)


def surgery(
    pair: Pair,
    data: Data,
    *,
    posterior: GivenPosterior | None = None,
    draws: int = 4,
    threshold: float = 0.01,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> Surgery:
    """Split the KL term of formula (2), averaged over the data, into its parts.

        mean_x KL[q(z|x) || p(z)] = I(x; z) + KL[q(z) || p(z)]
        KL[q(z) || p(z)] = KL[q(z) || prod_i q(z_i)] + sum_i KL[q(z_i) || p(z_i)]

    with the aggregate posterior q(z) = 1/N sum_n q(z|x_n) of these N datapoints (Hoffman and
    Johnson, "ELBO surgery: yet another way to carve up the variational evidence lower bound",
    2016; Chen, Li, Grosse and Duvenaud, "Isolating Sources of Disentanglement in Variational
    Autoencoders", 2018). The aggregate is evaluated with all its components, so the time grows
    with draws x N^2. The terms are averages over the same draws of q(z|x), so the two equations
    hold up to rounding:

    - `kl`: the left side;
    - `mutual_information`: I(x; z), between 0 and log N;
    - `marginal_kl`: KL[q(z) || p(z)], what a better prior could gain;
    - `total_correlation`: KL[q(z) || prod_i q(z_i)], 0 for a single dimension;
    - `dimension_kl`: the sum over dimensions of KL[q(z_i) || p(z_i)].

    For these N datapoints all are exact up to `monte_carlo_error`. As estimates for the source of
    the data they are biased: a draw's own datapoint is one of the N components, so that to first
    order I(x; z) is too low, and KL[q(z) || p(z)] too high, by V / 2N with
    V = E_x[integral of q(z|x)^2 / q(z)] - 1. `dimension_kl` is too high by the sum over dimensions
    of their own V / 2N, and the bias of the total correlation is the difference. Where I(x; z) is
    `saturated`, the posteriors of the N datapoints hardly overlap, and I(x; z) is close to log N
    for any such pair. `standard_error` is for new datapoints, from the spread over datapoints;
    the effect of each as a component is of second order and left out.

    The last two terms need q(z_i|x): a guide that is independent over dimensions given x, such as
    Normal(loc, scale).to_event(1); `dimension_kl` needs such a prior too. `marginal_kl` and
    `dimension_kl` need the same prior for all datapoints. Otherwise they are NaN, and `undefined`
    gives the reason.

    With `posterior`, what `refine` returns, p(z|x) = p(x, z) / P(x) stands in place of q(z|x)
    everywhere, so that the terms are of the model and not of its guide: how much the data tell of
    z, and how far their aggregate posterior is from the prior. Any guide will do. Every draw is
    then scored by the model at every datapoint. The last two terms and those of single dimensions
    are NaN, since p(z_i|x) is not known. `monte_carlo_error` includes the errors of log P(x), of
    which I(x; z) is free to first order.

    Args:
        pair: any pair and whose guide draws
            every latent given the data alone.
        data: `(data, *event)`, at least two datapoints; of a dataset, the test split.
        posterior: what `refine` returned for these data.
        draws: number of draws per datapoint; with one, `monte_carlo_error` is NaN.
        threshold: I(x; z_i) in nats below which a dimension is dead.
        seed: of the draws.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.

    Raises:
        Unsupported: with fewer than two datapoints, or if the pair's structure does not allow it;
            the message names the site.
        ValueError: if a number is not valid, the data are not, or `posterior` is of others.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> parts = surgery(pairs.assemble(digits, latent=2), digits.test)
        >>> mean = parts.terms["mean"]
        >>> information = mean.sel(term="mutual_information")
        >>> bool(abs(mean.sel(term="kl") - information - mean.sel(term="marginal_kl")) < 1e-4)
        True
    """
    names = names_of(data, "test")
    pair, batch = adapted(pair, data, split="test", seed=seed)
    if len(batch[0]) < 2:
        raise Unsupported("surgery needs at least 2 datapoints, got 1")
    if not threshold >= 0:
        raise ValueError(f"threshold must be at least 0, got {threshold}")
    if posterior is not None:
        check_given(posterior, len(batch[0]), names)
    kept = sound(pair, batch, names)
    batch = kept.batch
    given: dict[str, Tensor] | None = None
    log_evidence = log_evidence_error = torch.zeros(len(batch[0])).double()
    if posterior is not None:
        given = drawn_from(posterior, draws, kept.rows)
        pair = with_its_latents(pair, batch)
        log_evidence, log_evidence_error = known_evidence(posterior, kept.rows)
    find_undefined = _undefined_terms if posterior is None else undefined_of_posterior
    others = tuple(tensor.roll(1, 0) for tensor in batch)
    measured: list[tuple[Tensor, Tensor]] = []
    drawn: list[tuple[Tensor, dict[str, Tensor]]] = []
    undefined: dict[str, str] = {}
    start = 0
    with (
        isolated(pair, seed),
        progress_bar(total=len(batch[0]), unit=" datapoints", progress=progress) as bar,
    ):
        for chunk, structure, parts in draw_chunks(pair, batch, draws, memory, given=given):
            rows = len(chunk[0])
            with seeded(0):
                other = tuple(tensor[start : start + rows] for tensor in others)
                reasons, model = find_undefined(pair, chunk, other, structure)
            if not measured:
                aggregate = (
                    Aggregate(pair, batch, structure, rows, memory)
                    if given is None
                    else PosteriorAggregate(pair, batch, structure, rows, memory, log_evidence)
                )
            undefined |= reasons
            scored, priors, latents = [], [], []
            for part in parts:
                scored.append(_split(part, aggregate, model, start, undefined))
                priors.append(part.log_prior.double())
                latents.append(part.latents)
            values = torch.cat(scored)
            drawn.append((torch.cat(priors), _joined(latents, 0)))
            error = values.var(0) / draws if draws > 1 else torch.full_like(values[0], math.nan)
            measured.append((values.mean(0), error))
            start += rows
            bar.update(rows)
    means, errors = (torch.cat(pieces) for pieces in zip(*measured, strict=True))
    like = _dims(structure, model)
    count = sum(shape.numel() for _, shape in like.values())
    attrs = {"units": "nats per datapoint", "data": start, "draws": draws}
    log_prior = torch.cat([prior for prior, _ in drawn], 1)
    # A datapoint's log P(x) counts in full for the first and third term: each draw's posterior,
    # and the component of the mixture at the draws near it.
    errors[:, [0, 2]] += log_evidence_error.square().to(errors)[:, None]
    normal = held_out_normal(_joined([latents for _, latents in drawn], 1), model)
    if normal is not None:
        normal = (normal.to(log_prior.device) - log_prior).mean(0)
    return Surgery(
        summary(means[:, : len(TERMS)], errors[:, : len(TERMS)], undefined, attrs),
        bounds(means, normal, undefined),
        by_site(means[:, -2 * count : -count].mean(0), like).assign_attrs(units="nats"),
        by_site(means[:, -count:].mean(0), like).assign_attrs(units="nats"),
        undefined,
        threshold,
    )


Mixture: TypeAlias = Aggregate | PosteriorAggregate

_Shapes = dict[str, tuple[tuple[str, ...], torch.Size]]


def _undefined_terms(
    pair: Pair, batch: Batch, other: Batch, structure: Structure
) -> tuple[dict[str, str], Sites]:
    """Return the terms that are not defined, with the reason, and the sites of a run of the model.

    Raises:
        Unsupported: if the pair has no aggregate posterior.
    """
    refuse_without_latents(structure)
    for name, reason in structure.degenerate.items():
        raise Unsupported(f"log q(z|x) is not defined: at latent site {name!r} {reason}")
    guide, model = execute(pair, batch, structure)
    again, model_again = execute(pair, batch, structure)
    for name in structure.latents:
        if is_masked(guide[name]) or is_masked(model[name]):
            raise Unsupported(
                f"latent site {name!r} is masked, so the posteriors of two datapoints are not "
                "over the same latents"
            )
        if depends_on_enumerated(guide[name]):
            raise Unsupported(
                f"the guide's distribution of latent site {name!r} is a mixture over a site that "
                "is summed out; surgery needs a guide whose sites are independent given the data"
            )
    for name, reason in own_draws_alone(guide).items():
        raise Unsupported(
            f"surgery scores draws of one datapoint by log q(z|x) of the others, which is not "
            f"known: at latent site {name!r} {reason}"
        )
    for name in changed_by_draws(guide, again, structure.latents):
        raise Unsupported(
            f"the guide's distribution of latent site {name!r} changes with other draws, so one "
            "datapoint's draws cannot be scored at another; surgery needs a guide whose sites are "
            "independent given the data"
        )
    undefined = {}
    for name in changed_by_draws(model, model_again, structure.latents) + [
        name for name in structure.latents if structure.marginalized or not factorizes(model[name])
    ]:
        undefined["dimension_kl"] = f"the prior of {name!r} is not independent over dimensions"
    for name in structure.latents:
        if not factorizes(guide[name]):
            reason = f"the guide's distribution of {name!r} is not independent over dimensions"
            undefined |= {"total_correlation": reason, "dimension_kl": reason}
    for name in changed_by_data(pair, batch, other, structure):
        reason = f"the prior of {name!r} differs between datapoints"
        undefined |= {"marginal_kl": reason, "dimension_kl": reason}
    return undefined, model


def _split(
    part: Draws,
    aggregate: Mixture,
    model: Sites,
    start: int,
    undefined: Mapping[str, str],
) -> Tensor:
    """Return all terms, the two without the own component, and those of each dimension.

    The dimensions' are I(x; z_i), then KL[q(z_i) || p(z_i)]. `(draw, data, term)`.
    """
    own, total, others = aggregate.score(part.latents, start)
    log_prior = part.log_prior.double()
    count = sum(value[0, 0].numel() for value in part.latents.values())
    unknown = log_prior.new_full((*log_prior.shape, count), math.nan)
    own_each = total_each = prior_each = unknown
    if "total_correlation" not in undefined:
        own_each, total_each = own[..., :-1], total[..., :-1]
    if "dimension_kl" not in undefined:
        prior_each = _prior_densities(part, aggregate, model)
    own_joint, total_joint = own[..., -1], total[..., -1]
    terms = torch.stack(
        [
            own_joint - log_prior,
            own_joint - total_joint,
            total_joint - log_prior,
            total_joint - total_each.sum(-1),
            (total_each - prior_each).sum(-1),
            own_joint - others,
            others - log_prior,
        ],
        -1,
    )
    return torch.cat([terms, own_each - total_each, total_each - prior_each], -1)


def _prior_densities(part: Draws, aggregate: Mixture, model: Sites) -> Tensor:
    """Return log p(z_i), `(draw, data, dimension)`."""
    rows, draw_dim = part.log_prior.shape[1], aggregate.structure.draw_dim
    columns = [
        log_densities(model[name], values, draw_dim, rows).double()
        for name, values in part.latents.items()
    ]
    return torch.cat(columns, -1)


def _dims(structure: Structure, model: Sites) -> _Shapes:
    """Return dims and shape of one value of each latent."""
    shapes = {}
    for name in structure.latents:
        event_shape = model[name]["fn"].event_shape
        inner = [frame.size for frame in plates(model[name]) if frame.name != PLATE]
        dims = [f"{name}_dim_{axis}" for axis in range(len(event_shape))]
        shapes[name] = (
            (*structure.inner_plates[name], *dims),
            torch.Size([*inner, *event_shape]),
        )
    return shapes


def _joined(parts: list[dict[str, Tensor]], dim: int) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts], dim) for name in parts[0]}
