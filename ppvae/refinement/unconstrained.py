"""The latents of a pair on a space without constraints, for all chains at once."""

from typing import TypeAlias

import torch
from torch import Tensor
from torch.distributions import Transform, biject_to, constraints
from torch.distributions.constraints import Constraint

from ppvae.engine import Site, Sites, Unsupported, support_text
from ppvae.refinement.ensembles import Ensemble

State: TypeAlias = dict[str, Tensor]
"""Unconstrained latents of all chains by site, each in its site's shape."""


class Unconstrained:
    """The bijections of a pair's latents from the real line, and what chains need of that space.

    Args:
        ensemble: the pair and its chains.
        sites: the model's latent sites at one draw.
        others: the same at another one.

    Raises:
        Unsupported: if a latent is discrete, has a support without a bijection from the real line,
            or one that depends on other latents.
    """

    def __init__(self, ensemble: Ensemble, sites: Sites, others: Sites) -> None:
        self.ensemble, self.sites = ensemble, sites
        self.bijections = {name: bijection(site) for name, site in sites.items()}
        for name, site in sites.items():
            if not same_support(site, others[name]):
                raise Unsupported(
                    f"the support of latent site {name!r}, {support_text(site['fn'].support)} at "
                    "one draw, depends on other latents, so there is no fixed space for "
                    "its values; write it as a function of a latent with a fixed support"
                )

    def unconstrain(self, values: dict[str, Tensor]) -> State:
        """Map the latents' values to the unconstrained space."""
        return {name: self.bijections[name].inv(value) for name, value in values.items()}

    def constrained(self, state: State) -> tuple[dict[str, Tensor], Tensor]:
        """Return the latents' values and the log volume |dz/du| there, `(chain, data)`."""
        values, volumes = {}, []
        for name, site in self.sites.items():
            values[name] = self.bijections[name](state[name])
            volume = _log_volume(site, self.bijections[name], state[name], values[name])
            volumes.append(self.ensemble.sum(volume, site))
        return values, torch.stack(volumes).sum(0)

    def in_support(self, state: State) -> Tensor:
        """Tell which chains, `(chain, data)`, are finite and in the support after rounding."""
        outside = []
        for name, site in self.sites.items():
            allowed = _allowed(site, self.bijections[name], state[name])
            outside.append(self.ensemble.sum((~allowed).double(), site))
        return torch.stack(outside).sum(0) == 0

    def broadcast(self, name: str, values: Tensor) -> Tensor:
        """Shape `(chain, data)` so that it broadcasts against a site's state."""
        return self.ensemble.broadcast(values, self.sites[name], self._event_dim(name))

    def where(self, condition: Tensor, state: State, other: State) -> State:
        """Take the first state where the condition, `(chain, data)`, holds, else the other."""
        return {
            name: torch.where(self.broadcast(name, condition), value, other[name])
            for name, value in state.items()
        }

    def squared_norm(self, state: State) -> Tensor:
        """Return the squared norm of all latents as one vector, `(chain, data)`."""
        return self.sum({name: value.square() for name, value in state.items()})

    def sum(self, state: State) -> Tensor:
        """Return the sum over all coordinates of the latents, `(chain, data)`."""
        values = [
            self.ensemble.sum(_rows(self.bijections[name], state[name]).sum(-1), site)
            for name, site in self.sites.items()
        ]
        return torch.stack(values).sum(0)

    def mean_over_chains(self, state: State) -> State:
        """Return each coordinate's mean over the chains, NaN left out, as one chain has it."""
        return {
            name: self.ensemble.mean_over_chains(value, self.sites[name], self._event_dim(name))
            for name, value in state.items()
        }

    def for_all_chains(self, state: State) -> State:
        """Shape what one chain has so that it broadcasts against a state."""
        return {
            name: self.ensemble.for_all_chains(value, self.sites[name], self._event_dim(name))
            for name, value in state.items()
        }

    def _event_dim(self, name: str) -> int:
        return int(self.bijections[name].domain.event_dim)


def bijection(site: Site) -> Transform:
    """Return the bijection from the real line to a latent's support.

    Raises:
        Unsupported: if the latent is discrete or no bijection to its support is known.
    """
    support = _support(site)
    if support.is_discrete:
        raise Unsupported(
            f"latent site {site['name']!r} is discrete, and Hamiltonian transitions need "
            "gradients; leave it to the model alone, which sums it out, or use `evidence`"
        )
    try:
        found: Transform = biject_to(support)
    except NotImplementedError:
        raise Unsupported(
            f"latent site {site['name']!r} has the support {support_text(support)}, to which no "
            "bijection from the real line is known; use `evidence`"
        ) from None
    return found


def same_support(site: Site, other: Site) -> bool:
    """Tell whether a latent has one support at two sites, by its bijections at random points."""
    ours, theirs = bijection(site), bijection(other)
    points = torch.randn_like(ours.inv(site["value"]))
    return torch.equal(ours(points), theirs(points))


def _log_volume(site: Site, bijection: Transform, unconstrained: Tensor, value: Tensor) -> Tensor:
    volume: Tensor = bijection.log_abs_det_jacobian(unconstrained, value)
    if site["mask"] is None:
        return volume
    # A masked latent has no density that could be transformed.
    return torch.where(torch.as_tensor(site["mask"], device=volume.device), volume, 0.0)


def _allowed(site: Site, bijection: Transform, unconstrained: Tensor) -> Tensor:
    """Tell where a latent lies in its support and can be mapped back, after rounding.

    Its size is not looked at: it depends on the units.
    """
    value = bijection(unconstrained.nan_to_num(0.0))
    allowed: Tensor = _support(site).check(value)
    for place in (unconstrained, bijection.inv(value)):
        allowed = allowed & _rows(bijection, place).isfinite().all(-1)
    return allowed


def _rows(bijection: Transform, unconstrained: Tensor) -> Tensor:
    """Lay out the event dimensions of unconstrained values as the last one."""
    dims = unconstrained.dim() - bijection.domain.event_dim
    return unconstrained.reshape(*unconstrained.shape[:dims], -1)


def _support(site: Site) -> Constraint:
    return _without_mixtures(site["fn"].support)


def _without_mixtures(support: Constraint) -> Constraint:
    """Return a support with that of a mixture's components in place of the mixture's."""
    match support:
        case constraints.MixtureSameFamilyConstraint():
            return _without_mixtures(support.base_constraint)
        case constraints.independent():
            inner = _without_mixtures(support.base_constraint)
            return constraints.independent(inner, support.reinterpreted_batch_ndims)
    return support
