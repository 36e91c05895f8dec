"""The guide's own family of distributions, with parameters of its own for each datapoint."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from ppvae.engine import (
    CANNOT_SCORE,
    Batch,
    Pair,
    Site,
    Structure,
    Unsupported,
    depends_on_enumerated,
    first_line,
    is_masked,
    noted,
    run_pair,
)
from ppvae.refinement.approximations import Approximation, Values
from ppvae.refinement.latent_sites import LatentSites
from ppvae.refinement.parametrization import Parametrization, parametrize

_SCORES = 16  # draws that measure the distribution's width; a rough value is enough


@dataclass(frozen=True)
class OwnFamily(Approximation):
    """The product of the guide's distributions at all sites, with parameters of their own.

    Args:
        latents: the guide's latent sites.
        families: their distributions, as functions of unconstrained tensors.
        raw: those tensors, `(*plates, ...)`, of all sites in turn.
        units: how far an offset of 1 moves each.
    """

    latents: LatentSites
    families: Mapping[str, Parametrization]
    raw: tuple[Tensor, ...]
    units: tuple[Tensor, ...]

    def offsets(self) -> list[Tensor]:
        """Return zeros of the shape of the unconstrained parameters."""
        return [torch.zeros_like(raw) for raw in self.raw]

    def of_rows(self, rows: Tensor) -> list[Tensor]:
        """Shape a mask of the datapoints so that it broadcasts against each offset."""
        return [
            rows.reshape(-1, *(1,) * (raw.dim() - 1 - self.latents.data_axis(name)))
            for name, family in self.families.items()
            for raw in family.raw
        ]

    def replaced(self, rows: Tensor, other: Self) -> Self:
        """Return it with the parameters of another for some datapoints, `(data,)`."""
        parts = zip(self.of_rows(rows), other.raw, self.raw, strict=True)
        return replace(self, raw=tuple(torch.where(*part) for part in parts))

    def moved(self, offsets: Sequence[Tensor]) -> Self:
        """Return the same family at other parameters."""
        steps = zip(self.raw, self.units, offsets, strict=True)
        return replace(self, raw=tuple(raw + unit * offset for raw, unit, offset in steps))

    def rescaled(self) -> Self:
        """Return it with the inverse square roots of its Fisher information as units.

        What is mapped from a bounded range, such as a logarithm of a scale, moves by 1 at most.
        A parameter of more numbers than the latent moves by less in each, so that its total noise
        is no larger.
        """
        return replace(self, units=_widths(self))

    def rsample(self, draws: int) -> Values:
        """Return draws of every site, gradients passing through them."""
        return {
            name: self.latents.aligned(name, distribution.rsample((draws,)))
            for name, distribution in self.distributions().items()
        }

    def log_prob(self, values: Values) -> Tensor:
        """Return the sum of the sites' log densities, `(draw, data)`."""
        total = [
            self.latents.per_datapoint(name, distribution.log_prob(values[name]))
            for name, distribution in self.distributions().items()
        ]
        return torch.stack(total).sum(0)

    def distributions(self) -> dict[str, Any]:
        """Return each site's distribution at the present parameters."""
        distributions, start = {}, 0
        for name, family in self.families.items():
            end = start + len(family.raw)
            distributions[name] = family.build(self.raw[start:end])
            start = end
        return distributions


def _widths(family: OwnFamily) -> tuple[Tensor, ...]:
    """Return how far each number moves the distribution by about its own width."""
    raws = tuple(raw.detach().requires_grad_() for raw in family.raw)
    with torch.enable_grad():
        here = replace(family, raw=raws)
        values = {name: value.detach() for name, value in here.rsample(_SCORES).items()}
        scores = [
            torch.autograd.grad(log_prob.sum(), raws, retain_graph=True, allow_unused=True)
            for log_prob in here.log_prob(values)
        ]
    traits = [
        (
            unbounded,
            math.sqrt(min(1, family.latents.sites[name]["value"].numel() / unbounded.numel())),
        )
        for name, one in family.families.items()
        for unbounded in one.unbounded
    ]
    units = []
    for raw, (unbounded, share), gradients in zip(
        raws, traits, zip(*scores, strict=True), strict=True
    ):
        squares = [torch.zeros_like(raw) if g is None else g.square() for g in gradients]
        information = torch.stack(squares).mean(0)
        unit = torch.where(information > 0, information.rsqrt(), 1.0)
        units.append(share * torch.where(unbounded, unit, unit.clamp(max=1.0)))
    return tuple(units)


def guide_family(pair: Pair, batch: Batch, structure: Structure) -> OwnFamily:
    """Read the guide's family from its trace, at the parameters that the guide gives.

    Raises:
        Unsupported: if a latent site is masked, cannot be reparameterized, depends on another
            site's draw, or has a distribution that cannot be built from its parameters; the
            message names the site.
    """
    guide, model = run_pair(pair, batch)
    again, _ = run_pair(pair, batch)
    families = {}
    for name in structure.latents:
        if is_masked(guide[name]) or is_masked(model[name]):
            raise Unsupported(_refusal(name, "it is masked"))
        if depends_on_enumerated(guide[name]):
            reason = "its distribution is a mixture over a site that is summed out"
            raise Unsupported(_refusal(name, reason))
        families[name] = _family(name, guide[name], again[name])
    raw = tuple(raw for family in families.values() for raw in family.raw)
    latents = LatentSites(
        {name: guide[name] for name in structure.latents}, structure.draw_dim, len(batch[0])
    )
    return OwnFamily(latents, families, raw, tuple(torch.ones_like(part) for part in raw))


def _family(name: str, site: Site, again: Site) -> Parametrization:
    distribution, value = site["fn"], site["value"]
    if not distribution.has_rsample:
        raise Unsupported(
            _refusal(name, "its draws are discrete or have no gradient (no `rsample`)")
        )
    try:
        with noted(
            f"while the distribution of latent site {name!r} was built from its parameters"
        ):
            first, second = parametrize(distribution), parametrize(again["fn"])
            rebuilt = _scored(first, value)
    except Unsupported as refusal:
        reason = f"its distribution {first_line(refusal)}"
        raise Unsupported(_refusal(name, reason)) from refusal
    if not all(map(torch.equal, first.raw, second.raw)):
        raise Unsupported(
            _refusal(
                name,
                "its parameters differ between two runs of the guide, so they depend on another "
                "site's draw or on random numbers of the guide's own",
            )
        )
    tolerance = torch.finfo(rebuilt.dtype).eps ** 0.5
    if not torch.allclose(rebuilt, distribution.log_prob(value), rtol=tolerance, atol=tolerance):
        family = type(distribution).__name__
        raise Unsupported(
            _refusal(name, f"its distribution {family} is not that of its parameters")
        )
    return first


def _scored(family: Parametrization, value: Tensor) -> Tensor:
    rebuilt = family.build(family.raw)
    try:
        log_prob: Tensor = rebuilt.log_prob(value)
    except CANNOT_SCORE as error:
        raise Unsupported(
            f"{type(rebuilt).__name__} can score its own draws alone, because a transform has no "
            "inverse, but draws of each posterior are scored by the others; choose transforms "
            "that have one, such as flows.InverseAutoregressive or flows.AffineCoupling"
        ) from error
    return log_prob


def _refusal(name: str, reason: str) -> str:
    return f"the guide cannot be optimized for each datapoint: at latent site {name!r} {reason}"
