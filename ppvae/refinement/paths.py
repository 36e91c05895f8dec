"""The path of densities from one that can be drawn from to the posterior."""

from copy import copy
from dataclasses import dataclass
from typing import Protocol

import pyro
import pyro.poutine as poutine
import torch
from torch import Tensor

from ppvae.engine import (
    Sites,
    Unsupported,
    execute,
    latents_unscored,
    log_prob,
    refuse_without_latents,
    run_model,
    simulated_sites,
    support_text,
)
from ppvae.refinement.ensembles import Ensemble
from ppvae.refinement.unconstrained import State, Unconstrained, same_support


class Start(Protocol):
    """A normalized density of the latents that can be drawn from exactly."""

    def draw(self, ensemble: Ensemble) -> Sites:
        """Draw from it; return the model's latent sites with the draws as their values."""

    def densities(self, ensemble: Ensemble, given: poutine.Trace) -> tuple[Tensor, Tensor]:
        """Return its log density and log p(x, z), in nats, `(chain, data)`."""


class PriorStart:
    """The prior p(z)."""

    def draw(self, ensemble: Ensemble) -> Sites:
        """Draw z ~ p(z)."""
        structure = ensemble.structure
        if structure.enumerated:
            drawn = simulated_sites(ensemble.pair, ensemble.batch, structure, ensemble.draws, {})
            return {name: drawn[name] for name in structure.latents}
        with ensemble.plate():
            model = run_model(ensemble.pair, ensemble.batch, None, poutine.Trace())
        return {name: model[name] for name in ensemble.structure.latents}

    def densities(self, ensemble: Ensemble, given: poutine.Trace) -> tuple[Tensor, Tensor]:
        """Return log p(z) and log p(x, z)."""
        with ensemble.plate():
            model = run_model(ensemble.pair, ensemble.batch, ensemble.structure, given)
        return ensemble.model_densities(model)


class GuideStart:
    """The guide q(z|x)."""

    def draw(self, ensemble: Ensemble) -> Sites:
        """Draw z ~ q(z|x).

        Raises:
            Unsupported: if the guide has no density, one of its own draws alone, or another
                support than the prior.
        """
        for name, reason in ensemble.structure.degenerate.items():
            raise Unsupported(
                f"annealing cannot start from the guide: at latent site {name!r} {reason}; or "
                "start from the prior by from_guide=False"
            )
        with ensemble.plate():
            whole = ensemble.structure if ensemble.structure.enumerated else None
            guide, model = execute(ensemble.pair, ensemble.batch, whole)
        for name, reason in latents_unscored(guide).items():
            raise Unsupported(
                "annealing cannot start from the guide, whose density it needs at other draws "
                f"than the guide's own: at latent site {name!r} {reason}; start from the prior by "
                "from_guide=False"
            )
        for name in ensemble.structure.latents:
            if not same_support(model[name], guide[name]):
                raise Unsupported(
                    f"latent site {name!r} has the support "
                    f"{support_text(guide[name]['fn'].support)} in the guide and "
                    f"{support_text(model[name]['fn'].support)} in the model; start from the "
                    "prior by from_guide=False"
                )
        return {name: model[name] for name in ensemble.structure.latents}

    def densities(self, ensemble: Ensemble, given: poutine.Trace) -> tuple[Tensor, Tensor]:
        """Return log q(z|x) and log p(x, z)."""
        with ensemble.plate():
            guide, model = execute(ensemble.pair, ensemble.batch, ensemble.structure, given)
        if ensemble.structure.enumerated:
            return ensemble.guide_density(guide), ensemble.model_densities(model)[1]
        values = [ensemble.sum(log_prob(site), site) for site in guide.values()]
        return torch.stack(values).sum(0), ensemble.model_densities(model)[1]


@dataclass(frozen=True)
class Point:
    """Where the chains are, and the log densities of both ends of the path there.

    Args:
        state: the unconstrained latents.
        log_start: log density of the start in nats, `(chain, data)`.
        log_target: log p(x, z) likewise; both on the unconstrained space.
    """

    state: State
    log_start: Tensor
    log_target: Tensor

    def log_density(self, temperature: float | Tensor) -> Tensor:
        """Return (1 - t) log f_0 + t log f_1, `(chain, data)`, at an inner temperature t."""
        return (1 - temperature) * self.log_start + temperature * self.log_target


class Path:
    """The geometric path f_t(z) = f_0(z)^(1 - t) p(x, z)^t from a start f_0 to the posterior.

    Args:
        ensemble: the pair and its chains.
        start: the density f_0.

    Raises:
        Unsupported: if the start or the latents do not allow it; the message names the site.
    """

    def __init__(self, ensemble: Ensemble, start: Start) -> None:
        refuse_without_latents(ensemble.structure)
        self.start, self.ensemble = start, ensemble
        self.space = Unconstrained(ensemble, start.draw(ensemble), start.draw(ensemble))

    def with_ensemble(self, ensemble: Ensemble) -> "Path":
        """Return the path of a pair of the same sites, and of the same number of chains."""
        path = copy(self)
        path.ensemble = ensemble
        return path

    def draw(self) -> Point:
        """Draw from the start, exactly."""
        with pyro.validation_enabled(False):
            drawn = self.start.draw(self.ensemble)
        return self.point({name: site["value"] for name, site in drawn.items()})

    def point(self, values: dict[str, Tensor]) -> Point:
        """Return the point at values of the latents, which several chains may share."""
        sites = self.space.sites
        full = {name: value.expand(sites[name]["value"].shape) for name, value in values.items()}
        return self.at(self.space.unconstrain(full))

    def at(self, state: State) -> Point:
        """Return the log densities of both ends, by one run of the pair.

        Where a trajectory has left all mass, parameters of the pair may not be finite. There the
        densities are NaN, and the trajectory is rejected. At a draw of the start they make the
        weights NaN, of that datapoint alone.
        """
        values, volume = self.space.constrained(state)
        given = poutine.Trace()
        for name, site in self.space.sites.items():
            given.add_node(name, **{**site, "value": values[name], "infer": {}})
        with pyro.validation_enabled(False):
            log_start, log_target = self.start.densities(self.ensemble, given)
        return Point(state, log_start + volume, log_target + volume)

    def gradient(self, state: State, temperature: float | Tensor) -> State:
        """Return the gradient of log f_t."""
        with torch.enable_grad():
            leaves = {name: value.detach().requires_grad_() for name, value in state.items()}
            density = self.at(leaves).log_density(temperature)
        # Not the gradient of a sum: to compute that would stay in a captured graph.
        ones = torch.ones(density.shape, dtype=density.dtype, device=density.device)
        gradients = torch.autograd.grad(
            density, list(leaves.values()), ones, materialize_grads=True
        )
        return dict(zip(leaves, gradients, strict=True))
