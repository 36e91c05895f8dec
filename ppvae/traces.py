"""Reads log p(x, z) and log q(z|x) per datapoint and draw from the traces of any pair."""

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor
from torch.distributions import kl_divergence
from torch.utils._python_dispatch import TorchDispatchMode

from ppvae.batches import Batch, chunks

Site: TypeAlias = dict[str, Any]
Sites: TypeAlias = dict[str, Site]

PLATE = "data"
"""The name of the plate over datapoints, in the model and in the guide."""


class Pair(Protocol):
    """A model and a guide with the same latent sites: all that inference and diagnostics need."""

    @property
    def model(self) -> Callable[..., Any]:
        """The generative program, called as `model(*batch)`."""

    @property
    def guide(self) -> Callable[..., Any]:
        """The approximate posterior, called as `guide(*batch)`."""


@dataclass(frozen=True)
class Structure:
    """What one run of a pair shows of its sites, before any draw is vectorised.

    Args:
        latents: sites drawn by the guide and scored by the model, in the model's order.
        marginalised: discrete sites of the model alone, summed out by enumeration.
        observed: sites with data.
        draw_dim: the batch dimension free for draws, left of every plate.
        kl: closed-form KL[q(z|x) || p(z)] in nats, `(data,)`, where one latent allows it.
        ordered: whether model and guide draw several latents in the same order, so that the KL is
            the expected sum of the sites' own closed forms.
        unnormalised: sites whose log_prob is no density of the data, each with the reason.
        bytes_per_draw: memory that one draw of one datapoint passes through.
    """

    latents: tuple[str, ...]
    marginalised: tuple[str, ...]
    observed: tuple[str, ...]
    draw_dim: int
    kl: Tensor | None
    ordered: bool
    unnormalised: dict[str, str]
    bytes_per_draw: float


@dataclass(frozen=True)
class Draws:
    """Log densities of draws z ~ q(z|x), in nats, `(draw, data)` each.

    Args:
        log_prior: log p(z).
        log_likelihood: log p(x|z).
        log_posterior: log q(z|x).
        kl: closed-form KL[q(z|x) || p(z)] as seen from each draw, or None without closed form.
        latents: the draws, `(draw, data, ...)`, by site.
    """

    log_prior: Tensor
    log_likelihood: Tensor
    log_posterior: Tensor
    kl: Tensor | None
    latents: dict[str, Tensor]

    @property
    def log_weights(self) -> Tensor:
        """Return log p(x, z) - log q(z|x), `(draw, data)`."""
        return self.log_prior + self.log_likelihood - self.log_posterior


def run(pair: Pair, batch: Batch) -> tuple[Sites, Sites]:
    """Run guide and model once; return the guide's and the model's sample sites by name.

    Raises:
        ValueError: if the pair cannot run on the batch, or guide and model do not name the same
            latents.
    """
    guide, model = _run(pair, batch)
    latents = [name for name, site in model.items() if not site["is_observed"]]
    for name in latents:
        if name not in guide and not _enumerable(model[name]):
            raise ValueError(
                f"latent site {name!r} of the model is missing from the guide, which has "
                f"{_names(guide)}; sample it there under the same name"
            )
    for name, site in guide.items():
        if site["is_observed"]:
            raise ValueError(
                f"site {name!r} of the guide is observed; a guide may only draw latents"
            )
        if name not in latents and not site["infer"].get("is_auxiliary"):
            raise ValueError(
                f"latent site {name!r} of the guide is missing from the model, which has "
                f"{_names(latents)}; sample it there under the same name, or mark it "
                'infer={"is_auxiliary": True}'
            )
    return guide, model


def inspect(pair: Pair, batch: Batch) -> Structure:
    """Run a pair once and say how its densities can be read per datapoint.

    Raises:
        ValueError: if the pair cannot run on the batch, guide and model name different latents, a
            site stands outside the plate "data", a plate is sequential, or a summed-out site
            stands in a plate of its own.
    """
    with _Allocations() as allocations:
        guide, model = run(pair, batch)
    rows = len(batch[0])
    for program, sites in (("guide", guide), ("model", model)):
        for name, site in sites.items():
            _check_plates(program, name, site, rows)
    marginalised = [
        name for name, site in model.items() if not site["is_observed"] and name not in guide
    ]
    for name in marginalised:
        if len(model[name]["cond_indep_stack"]) > 1:
            raise ValueError(
                f"site {name!r} is summed out inside a plate of its own, which is not supported; "
                "draw it in the guide"
            )
    latents = [name for name in model if name in guide]
    depth = max(
        -frame.dim for site in (*guide.values(), *model.values()) for frame in _frames(site)
    )
    ordered = (
        not marginalised and list(guide) == latents  # no auxiliary sites, and the same order
    )
    kl = None
    if ordered and len(latents) == 1:
        kl = _closed_form_kl(guide[latents[0]], model[latents[0]], None, None, rows)
    observed = [name for name, site in model.items() if site["is_observed"]]
    reasons = {name: _unnormalised(name, model[name]) for name in observed}
    return Structure(
        latents=tuple(latents),
        marginalised=tuple(marginalised),
        observed=tuple(observed),
        draw_dim=-depth - 1,
        kl=None if kl is None else kl[0],
        ordered=ordered,
        unnormalised={name: reason for name, reason in reasons.items() if reason},
        bytes_per_draw=allocations.bytes / rows,
    )


def draw(
    pair: Pair, batch: Batch, structure: Structure, draws: int, *, vectorized: bool = True
) -> Draws:
    """Draw z ~ q(z|x) `draws` times for every datapoint and score each draw.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        structure: what `inspect` said of the pair.
        draws: number of draws per datapoint.
        vectorized: run all draws at once, in a plate left of all others; or one after the other,
            for networks that take a single batch dimension.
    """
    if vectorized:
        with pyro.plate("draws", draws, dim=structure.draw_dim):
            guide, model = _run(pair, batch, structure)
        return _score(guide, model, structure, len(batch[0]), draws)
    runs = [
        _score(*_run(pair, batch, structure), structure, len(batch[0]), None) for _ in range(draws)
    ]
    return _stack(runs)


def vectorizable(pair: Pair, batch: Batch, structure: Structure) -> bool:
    """Tell whether a pair scores two draws at once as it scores each of them alone.

    A network that was written for one batch dimension may fail on a second, or worse, return
    something of a wrong but fitting shape.
    """
    try:
        with pyro.plate("draws", 2, dim=structure.draw_dim):
            guide, model = _run(pair, batch, structure)
        together = _score(guide, model, structure, len(batch[0]), 2).log_weights
    except (RuntimeError, ValueError, IndexError, TypeError):
        return False
    for index in range(2):
        replayed = poutine.Trace()
        for name, site in guide.items():
            value = _unvectorized(site, structure.draw_dim)[index]
            depth = max(-frame.dim for frame in _frames(site))
            while value.dim() > depth + site["fn"].event_dim and value.shape[0] == 1:
                value = value.squeeze(0)  # a plate of another site stood there
            replayed.add_node(name, **{**site, "value": value})
        alone = _score(
            *_run(pair, batch, structure, replayed), structure, len(batch[0]), None
        ).log_weights[0]
        tolerance = math.sqrt(torch.finfo(alone.dtype).eps)
        if not torch.allclose(together[index], alone, rtol=tolerance, atol=tolerance):
            return False
    return True


def draw_chunks(
    pair: Pair, batch: Batch, draws: int, memory: int
) -> Iterator[tuple[Batch, Structure, Iterator[Draws]]]:
    """Cut data and draws into chunks that stay within `memory`, and draw each when asked for it.

    Yields, for every chunk of the data in order: the chunk, its structure, and an iterator over
    its draws, chunk by chunk.

    Args:
        pair: the model/guide pair.
        batch: all datapoints.
        draws: number of draws per datapoint.
        memory: a bound in bytes on the intermediate tensors of one chunk.

    Raises:
        ValueError: if `draws` or `memory` is not positive, and as `inspect` does.
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    if memory < 1:
        raise ValueError(f"memory must be at least 1 byte, got {memory}")
    # A look at few rows measures the memory; a pair whose plate has a fixed size needs all rows.
    whole = False
    look = tuple(tensor[:256] for tensor in batch)
    try:
        structure = inspect(pair, look)
    except ValueError:
        look, whole = batch, True
        structure = inspect(pair, batch)
    vectorized = vectorizable(pair, look, structure)
    at_once = max(1, int(memory / structure.bytes_per_draw))
    if not vectorized:
        rows, repeats = at_once, 1
    else:
        # The guide's network runs once a chunk of draws, whatever their number: from 64 draws on
        # its share is small, so the rest of the memory goes to datapoints.
        rows = max(1, at_once // min(draws, 64))
        repeats = max(1, at_once // min(rows, len(batch[0])))
    # The log densities of all draws of a chunk are kept until the next one.
    rows = len(batch[0]) if whole else max(1, min(rows, memory // (64 * draws)))

    def run_draws(chunk: Batch, structure: Structure) -> Iterator[Draws]:
        for start in range(0, draws, repeats):
            count = min(repeats, draws - start)
            yield draw(pair, chunk, structure, count, vectorized=vectorized)

    for chunk in chunks(batch, rows):
        here = structure if len(look[0]) == len(batch[0]) else inspect(pair, chunk)
        yield chunk, here, run_draws(chunk, here)


class _Allocations(TorchDispatchMode):
    """Counts the bytes of all tensors that operations make inside the block."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 1

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        output = function(*args, **(kwargs or {}))
        if isinstance(output, Tensor) and function._schema.returns[0].alias_info is None:
            self.bytes += output.numel() * output.element_size()
        return output


def _run(
    pair: Pair,
    batch: Batch,
    structure: Structure | None = None,
    replayed: poutine.Trace | None = None,
) -> tuple[Sites, Sites]:
    guide = pair.guide if replayed is None else poutine.replay(pair.guide, trace=replayed)
    model = pair.model
    enumeration: Any = nullcontext()
    if structure is not None and structure.marginalised:
        names = frozenset(structure.marginalised)
        model = poutine.infer_config(
            model, lambda site: {"enumerate": "parallel"} if site["name"] in names else {}
        )
        enumeration = poutine.enum(first_available_dim=structure.draw_dim - 1)
    try:
        guide_trace = poutine.trace(guide).get_trace(*batch)
        with enumeration:
            replay = poutine.replay(model, trace=guide_trace)
            model_trace = poutine.trace(replay).get_trace(*batch)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in batch)
        first = str(error).strip().splitlines()[0]
        raise ValueError(f"the pair cannot run on data of shape {shapes}: {first}") from error
    return _sample_sites(guide_trace), _sample_sites(model_trace)


def _sample_sites(trace: poutine.Trace) -> Sites:
    return {
        name: site
        for name, site in prune_subsample_sites(trace).nodes.items()
        if site["type"] == "sample"
    }


def _names(sites: Any) -> str:
    return ", ".join(repr(name) for name in sites) or "none"


def _enumerable(site: Site) -> bool:
    return bool(getattr(site["fn"], "has_enumerate_support", False))


def _frames(site: Site) -> list[Any]:
    return [frame for frame in site["cond_indep_stack"] if frame.vectorized]


def _check_plates(program: str, name: str, site: Site, rows: int) -> None:
    stack = site["cond_indep_stack"]
    for frame in stack:
        if not frame.vectorized:
            raise ValueError(
                f"site {name!r} of the {program} stands in the sequential plate {frame.name!r}; "
                "write `with pyro.plate(...)` instead of a loop over it"
            )
    plates = [frame.name for frame in stack]
    if PLATE not in plates:
        raise ValueError(
            f"site {name!r} of the {program} stands outside the plate {PLATE!r} (its plates: "
            f"{_names(plates)}), so it has no value per datapoint; sample it inside "
            f"`with pyro.plate({PLATE!r}, len(x))`"
        )
    size = next(frame.size for frame in stack if frame.name == PLATE)
    if size != rows:
        raise ValueError(
            f"site {name!r} of the {program}: the plate {PLATE!r} has {size} rows, the data "
            f"{rows}; the first dimension of the data must be the plate's"
        )


def _unnormalised(name: str, site: Site) -> str | None:
    base = site["fn"]
    while hasattr(base, "base_dist"):
        base = base.base_dist
    if isinstance(base, dist.Unit):
        return "pyro.factor adds a number that is no density"
    family = type(base).__name__.lstrip("_")
    if not getattr(base, "normalized", True):
        return f"{family} is a pseudo-likelihood, no density of the data"
    inside = site["fn"].support.check(site["value"])
    if site["mask"] is not None:
        inside = inside | ~torch.as_tensor(site["mask"], device=inside.device)
    if bool(inside.all()):
        return None
    outside = (
        f"{int((~inside).sum())} of {inside.numel()} observations of site {name!r} lie outside "
        f"the support of {family}, {base.support}"
    )
    if base._validate_args:
        raise ValueError(f"{outside}; choose a likelihood for such data")
    return outside


def _log_prob(site: Site) -> Tensor:
    """Return a site's log density without plates' and `poutine.scale`'s factors, masks applied."""
    return _masked(site["fn"].log_prob(site["value"]), site)


def _masked(values: Tensor, site: Site) -> Tensor:
    if site["mask"] is None or site["mask"] is True:
        return values
    mask = torch.as_tensor(site["mask"], device=values.device)
    return torch.where(mask, values, torch.zeros_like(values))


def _per_datapoint(
    values: Tensor, site: Site, draw_dim: int | None, rows: int, draws: int | None
) -> Tensor:
    """Sum a site's values over every plate but draws and data: `(..., draw, data)`.

    Dimensions left of the draws are kept: there enumeration stands.
    """
    depth = -draw_dim if draw_dim is not None else max(-frame.dim for frame in _frames(site)) + 1
    shape = [1] * depth
    for frame in _frames(site):
        shape[frame.dim] = frame.size
    if draws is not None:
        shape[-depth] = draws
    if values.dim() < depth:
        values = values.reshape((1,) * (depth - values.dim()) + tuple(values.shape))
    values = values.expand(*values.shape[: values.dim() - depth], *shape)
    data_dim = next(frame.dim for frame in _frames(site) if frame.name == PLATE)
    others = [dim for dim in range(-depth + 1, 0) if dim != data_dim]
    summed = values.sum(others) if others else values
    return summed.reshape(*summed.shape[: summed.dim() - depth + len(others)], draws or 1, rows)


def _closed_form_kl(
    guide: Site, model: Site, draw_dim: int | None, draws: int | None, rows: int
) -> Tensor | None:
    try:
        kl = kl_divergence(guide["fn"], model["fn"])
    except NotImplementedError:
        return None
    return _per_datapoint(_masked(kl, guide), guide, draw_dim, rows, draws)


def _score(
    guide: Sites, model: Sites, structure: Structure, rows: int, draws: int | None
) -> Draws:
    draw_dim = structure.draw_dim

    def total(sites: list[Site]) -> Tensor:
        values = [_per_datapoint(_log_prob(site), site, draw_dim, rows, draws) for site in sites]
        if draws is not None and not structure.marginalised and any(v.dim() > 2 for v in values):
            raise ValueError("a log density has dimensions left of the draws")
        return sum(values[1:], start=values[0])

    log_prior = total([site for site in model.values() if not site["is_observed"]])
    log_joint = log_prior + total([model[name] for name in structure.observed])
    if structure.marginalised:
        enumerated = list(range(log_joint.dim() - 2))
        log_prior = log_prior.expand_as(log_joint).logsumexp(enumerated)
        log_joint = log_joint.logsumexp(enumerated)
    kl = structure.kl
    if kl is not None:
        kl = kl.expand_as(log_joint)
    elif structure.ordered:
        terms = [
            _closed_form_kl(guide[name], model[name], draw_dim, draws, rows)
            for name in structure.latents
        ]
        if all(term is not None for term in terms):
            kl = torch.stack([term for term in terms if term is not None]).sum(0)
    return Draws(
        log_prior=log_prior,
        log_likelihood=log_joint - log_prior,
        log_posterior=total(list(guide.values())),
        kl=kl,
        latents={
            name: rows_first(
                _unvectorized(guide[name], draw_dim if draws is not None else None),
                guide[name],
            ).movedim(1, 0)
            for name in structure.latents
        },
    )


def rows_first(value: Tensor, site: Site) -> Tensor:
    """Move the data dimension of a site's value, or of the like with draws in front, to the front."""
    (dim,) = (frame.dim for frame in _frames(site) if frame.name == PLATE)
    return value.movedim(dim - site["fn"].event_dim, 0)


def _unvectorized(site: Site, draw_dim: int | None) -> Tensor:
    """Return a site's value with the draws first: `(draw, *batch, *event)`."""
    value: Tensor = site["value"]
    if draw_dim is None:
        return value.unsqueeze(0)
    position = value.dim() - site["fn"].event_dim + draw_dim
    if position < 0:
        raise ValueError("a latent has no dimension for the draws")
    return value.movedim(position, 0)


def _stack(runs: list[Draws]) -> Draws:
    kls = [run.kl for run in runs if run.kl is not None]
    return Draws(
        log_prior=torch.cat([run.log_prior for run in runs]),
        log_likelihood=torch.cat([run.log_likelihood for run in runs]),
        log_posterior=torch.cat([run.log_posterior for run in runs]),
        kl=torch.cat(kls) if len(kls) == len(runs) else None,
        latents={name: torch.cat([run.latents[name] for run in runs]) for name in runs[0].latents},
    )
