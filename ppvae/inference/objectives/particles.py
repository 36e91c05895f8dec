"""Draws of a guide with their weights, datapoint by datapoint, and the gradients of bounds."""

import math
from contextlib import nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pyro
import pyro.poutine as poutine
import torch
from torch import Tensor

from ppvae.engine import (
    PLATE,
    Program,
    Site,
    Sites,
    TrainingStructure,
    Unsupported,
    Weight,
    given_scale,
    joint_density,
    log_density,
    per_datapoint,
    plates,
    rows_of,
    run_guide,
    run_model,
    sample_sites,
    subsampling,
)
from ppvae.engine.compilation import capturing
from ppvae.inference.objectives.gates import Gate, GatedDraws

PARTICLES = "particles of the objective"


@dataclass(frozen=True)
class Particles:
    """Draws z ~ q(z|x) of each datapoint and their log densities, in nats, `(particle, data)`.

    Factors of plates and of `poutine.scale` that all sites share are left out.

    Args:
        log_joint: log p(x, z).
        log_posterior: log q(z|x).
        log_unreparameterized: log q of the sites whose draws have no gradient, or None.
        scale: the factor of each datapoint, a number or `(particle, data)`.
        draws: the latents behind the guide's gate, if they are gated.
        model_gate: between these and the model.
        guide_gate: between the guide's own draws and these.
        posterior_weights: the weight of each site's log q within a bound; None for 1.
        uneven: the guide's sites that are masked, or scaled otherwise within a datapoint.
        trace: of the guide.
    """

    log_joint: Tensor
    log_posterior: Tensor
    log_unreparameterized: Tensor | None
    scale: Tensor | float
    draws: list[Tensor]
    model_gate: Gate
    guide_gate: Gate
    posterior_weights: dict[str, Weight]
    uneven: list[str]
    trace: poutine.Trace

    @property
    def log_weights(self) -> Tensor:
        """Return log p(x, z) - log q(z|x)."""
        return self.log_joint - self.log_posterior

    def surrogate(self, weights: Tensor, path_weights: Tensor | None, *, path: bool) -> Tensor:
        """Return a number whose gradient is that of a bound.

        Args:
            weights: of the gradient of each log p(x, z) by the model's parameters, and of
                log p(x, z) - log q(z|x) by the guide's: `(particle, data)`.
            path_weights: of the latter, if they are others; gates are needed then.
            path: take the gradient of log p(x, z) - log q(z|x) by the guide's parameters through
                the draws alone, without log q's own use of them; gates are needed then. A prior
                that shares these parameters still receives its own gradient.
        """
        posterior = self.log_posterior
        if not path and path_weights is None:
            return _weighted(weights, self.log_weights)
        if path_weights is None:
            return _weighted(weights, self.log_joint) - self._along(_weighted(weights, posterior))
        terms = self.log_weights if path else self.log_joint
        through = self._along(_weighted(path_weights, terms))
        self.model_gate.open = False
        total = _weighted(weights, self.log_joint) + through
        return total if path else total - _weighted(path_weights, posterior)

    def posterior_weight(self) -> Weight:
        """Return the weight of log q(z|x) within a bound, if all its sites have the same.

        Raises:
            Unsupported: if they do not, or one is masked.
        """
        weights = [*self.posterior_weights.values()]
        captured = capturing()  # then they were compared in an earlier step
        for name, weight in self.posterior_weights.items():
            if name in self.uneven or not (captured or _equal(weight, weights[0])):
                raise Unsupported(
                    f"latent site {name!r} of the guide is masked, or scaled otherwise than its "
                    "other sites or within a datapoint, which doubly reparameterized gradients do "
                    "not allow; take plain gradients"
                )
        return weights[0] if weights else None

    def _along(self, total: Tensor) -> Tensor:
        """Return a number whose gradient is that of `total` through the draws alone."""
        draws = [draw for draw in self.draws if draw.requires_grad]
        if not draws or not total.requires_grad:
            return torch.zeros_like(total)  # the guide has nothing to learn
        self.guide_gate.open = False  # or a draw's effect on later ones would count twice
        gradients = torch.autograd.grad(total, draws, retain_graph=True, allow_unused=True)
        self.guide_gate.open = True
        products = [
            (gradient * draw).sum()
            for gradient, draw in zip(gradients, draws, strict=True)
            if gradient is not None
        ]
        return torch.stack([torch.zeros_like(total), *products]).sum()


def _weighted(weights: Tensor, values: Tensor) -> Tensor:
    """Sum values by weights; values of weight 0 may be infinite."""
    return (weights * values.masked_fill(weights == 0, 0)).sum()


def _equal(first: Weight, second: Weight) -> bool:
    one, other = (
        torch.as_tensor(1.0 if weight is None else weight).double() for weight in (first, second)
    )
    return bool(torch.isclose(one, other).all())


def _is_uneven(site: Site, weight: Weight) -> bool:
    varies = isinstance(weight, Tensor) and weight.dim() > 0
    within = any(frame.name not in (PLATE, PARTICLES) for frame in plates(site))
    return site["mask"] is not None or (varies and within)


def particles(
    model: Program,
    guide: Program,
    args: tuple[Any, ...],
    structure: TrainingStructure,
    count: int | None,
    *,
    gated: bool = False,
    replayed: poutine.Trace | None = None,
    model_seed: int | None = None,
) -> Particles:
    """Draw from the guide and weigh what it drew.

    Args:
        model: the model.
        guide: the guide.
        args: what both are called with.
        structure: what `training_structure_of` said of the pair.
        count: particles, drawn at once in a plate of their own; None for one without.
        gated: put gates around the draws.
        replayed: values for the guide's sites, instead of draws.
        model_seed: of what the model draws itself.

    Raises:
        Unsupported: if the latents are others than those of the structure, or sites that are
            summed out have different scales.
        Exception: what guide and model raise, with a note of the data's shape.
    """
    pair = SimpleNamespace(model=model, guide=guide)
    around: Any = nullcontext()
    if count is not None:
        around = pyro.plate(PARTICLES, count, dim=structure.draw_dim)
    drawn, model_gate = GatedDraws(), Gate()
    with around:
        with drawn if gated else nullcontext():
            trace = run_guide(pair, args, replayed)
        guide_sites = sample_sites(trace)
        for name, value in drawn.values.items():
            trace.nodes[name] = {**trace.nodes[name], "value": model_gate(value)}
        if model_seed is not None:
            torch.manual_seed(model_seed)
        model_sites = run_model(pair, args, structure, trace)
    latent = {name for name, site in model_sites.items() if not site["is_observed"]}
    if latent != {*structure.latents, *structure.marginalized}:
        raise Unsupported(
            f"the latent sites are {sorted(latent)}, others than when the objective first met "
            "this pair; use one objective for each kind of data"
        )
    reference = model_sites[structure.reference]
    if structure.marginalized:
        _refuse_weights(model_sites, reference)
    rows = rows_of(reference)

    def weight(site: Site) -> Weight:
        return weight_of(site, reference)

    weights = {name: weight(site) for name, site in guide_sites.items()}
    unreparameterized = [site for site in guide_sites.values() if not site["fn"].has_rsample]
    return Particles(
        log_joint=joint_density(model_sites, structure, rows, count, weight),
        log_posterior=log_density(guide_sites.values(), structure, rows, count, weight),
        log_unreparameterized=(
            log_density(unreparameterized, structure, rows, count) if unreparameterized else None
        ),
        scale=_scale(reference, structure, count),
        draws=list(drawn.values.values()),
        model_gate=model_gate,
        guide_gate=drawn.gate,
        posterior_weights=weights,
        uneven=[name for name, site in guide_sites.items() if _is_uneven(site, weights[name])],
        trace=trace,
    )


def _scale(reference: Site, structure: TrainingStructure, count: int | None) -> Tensor | float:
    """Return the factor outside of a bound: a number, or `(particle, data)`."""
    given, plate = given_scale(reference), subsampling(reference, inner=False)
    if isinstance(given, Tensor) and given.dim() > 0:
        inner = [frame.size for frame in plates(reference) if frame.name != PLATE]
        copies = math.prod(inner) // (count or 1)
        total = per_datapoint(given, reference, structure.draw_dim, rows_of(reference), count)
        each: Tensor = total * (plate / copies)
        return each
    factor: Tensor | float = given * plate
    return factor


def weight_of(site: Site, reference: Site) -> Weight:
    """Return the weight of a site within a bound: its scale over the objective's scale.

    That is the subsampling of plates within the datapoint, and the weight of the KL term.
    """
    weight: Tensor | float = (
        subsampling(site, inner=True) * given_scale(site) / given_scale(reference)
    )
    return None if isinstance(weight, float) and weight == 1 else weight


def _refuse_weights(sites: Sites, reference: Site) -> None:
    for name, site in sites.items():
        weight = weight_of(site, reference)
        if weight is not None:
            raise Unsupported(
                f"site {name!r} is scaled otherwise than site {reference['name']!r}; where sites "
                "are summed out all need one scale, so take kl_weight=1"
            )
