"""p(x, z) and q(z|x) of some datapoints as functions of one vector per datapoint."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

import pyro
import pyro.poutine as poutine
import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.distributions import Transform

from ppvae.engine import (
    DRAWS,
    Batch,
    Pair,
    Site,
    Sites,
    Structure,
    Unsupported,
    Way,
    by_datapoint,
    execute,
    guide_density,
    is_masked,
    latents_unscored,
    model_densities,
    rows_at,
    run_model,
    run_pair,
    simulated_sites,
    structure_of,
    support_text,
    way_of,
)
from ppvae.refinement.directions import Direction
from ppvae.refinement.latent_sites import LatentSites, of_value_shape
from ppvae.refinement.unconstrained import bijection, same_support


class Densities(NamedTuple):
    """Log densities at vectors, in nats, `(draw, data)` each.

    Args:
        log_guide: log q(u|x).
        log_prior: log p(u).
        log_joint: log p(x, u).
    """

    log_guide: Tensor
    log_prior: Tensor
    log_joint: Tensor


def joined(parts: Sequence[Densities]) -> Densities:
    """Put the densities at several draws together."""
    return Densities(*(torch.cat(values) for values in zip(*parts, strict=True)))


@dataclass(frozen=True)
class Target:
    """The densities of a pair at vectors u that hold all latents of a datapoint, unconstrained.

    Make it by `target_of`.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        structure: what `structure_of` said of the pair there.
        way: how several draws are run.
        transforms: from unconstrained values onto the support, by site.
        shapes: of each site's unconstrained values of one datapoint.
        scores: whether the guide can score other draws than its own.
    """

    pair: Pair
    batch: Batch
    structure: Structure
    way: Way
    transforms: Mapping[str, Transform]
    shapes: Mapping[str, torch.Size]
    scores: bool
    seen: dict[int, Sites] = field(default_factory=dict, repr=False)

    @property
    def rows(self) -> int:
        """Number of datapoints."""
        return len(self.batch[0])

    @property
    def size(self) -> int:
        """Number of coordinates of a datapoint."""
        return sum(shape.numel() for shape in self.shapes.values())

    def of(self, rows: Tensor) -> "Target":
        """Return the target of some of the datapoints."""
        if len(rows) == self.rows:
            return self
        batch = rows_at(self.batch, rows)
        with pyro.validation_enabled(False):
            structure = structure_of(self.pair, batch)
        return Target(
            *(self.pair, batch, structure, self.way, self.transforms, self.shapes, self.scores)
        )

    def vectors(self, latents: Mapping[str, Tensor]) -> Tensor:
        """Arrange latents, `(draw, data, *inner plates, *event)`, as `(draw, data, value)`."""
        parts = []
        for name, transform in self.transforms.items():
            unconstrained = transform.inv(latents[name])
            parts.append(unconstrained.reshape(*unconstrained.shape[:2], -1))
        return torch.cat(parts, -1)

    def latents(self, vectors: Tensor) -> dict[str, Tensor]:
        """Return the latents, `(draw, data, *inner plates, *event)`, by site."""
        sizes = [shape.numel() for shape in self.shapes.values()]
        parts = vectors.split(sizes, -1)
        return {
            name: transform(part.reshape(*vectors.shape[:2], *self.shapes[name]))
            for (name, transform), part in zip(self.transforms.items(), parts, strict=True)
        }

    def densities(self, vectors: Tensor) -> "Densities":
        """Return log q(u|x), log p(u) and log p(x, u) in nats.

        The first is NaN where the guide can score its own draws alone.
        """
        return self._run(vectors, guide=True)

    def _run(self, vectors: Tensor, *, guide: bool) -> Densities:
        draws = len(vectors)
        self._sites(self.batch)  # outside the plate of the draws
        with pyro.validation_enabled(False):
            match self.way:
                case Way.AT_ONCE:
                    with draws_plate(self.structure, draws):
                        return self._densities(self.batch, vectors, draws, guide)
                case Way.FOLDED:
                    rows = torch.arange(self.rows).repeat(draws)
                    batch = rows_at(self.batch, rows)
                    folded = vectors.reshape(1, draws * self.rows, -1)
                    whole = self._densities(batch, folded, None, guide)
                    return Densities(*(values.reshape(draws, -1) for values in whole))
            runs = [self._densities(self.batch, one[None], None, guide) for one in vectors]
            return joined(runs)

    def log_joint(self, vectors: Tensor) -> Tensor:
        """Return log p(x, u) in nats, `(draw, data)`; -inf where it is NaN."""
        return self._run(vectors, guide=False).log_joint.nan_to_num(
            nan=-torch.inf, posinf=-torch.inf
        )

    def value_and_gradient(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p(x, u), `(draw, data)`, and its gradient; 0 where that is not finite."""
        with torch.enable_grad():
            leaf = vectors.detach().requires_grad_()
            value = self._run(leaf, guide=False).log_joint
            (gradient,) = torch.autograd.grad(value.sum(), leaf, materialize_grads=True)
        value = value.detach().nan_to_num(nan=-torch.inf, posinf=-torch.inf)
        return value, gradient.nan_to_num(0.0, 0.0, 0.0)

    def from_prior(self, draws: int) -> Tensor:
        """Draw latents from the prior, `(draw, data, value)`.

        Raises:
            Unsupported: if the prior cannot be drawn from.
        """
        structure, template = self.structure, self._sites(self.batch)
        columns = LatentSites(template, structure.draw_dim, self.rows)
        at_once = self.way is Way.AT_ONCE and not structure.enumerated
        drawn: list[Sites] = []
        with pyro.validation_enabled(False):
            for _ in range(1 if at_once else draws):
                if structure.enumerated:
                    drawn.append(simulated_sites(self.pair, self.batch, structure, None, {}))
                    continue
                with draws_plate(structure, draws) if at_once else nullcontext():
                    drawn.append(run_model(self.pair, self.batch, None, poutine.Trace()))
        parts = []
        for name, transform in self.transforms.items():
            values = [site[name]["value"] for site in drawn]
            if at_once:
                whole = values[0].reshape(draws, *_shape(template[name]))
            else:
                whole = torch.stack([value.expand(_shape(template[name])) for value in values])
            aligned = transform.inv(columns.aligned(name, whole))
            parts.append(columns.columns(name, aligned))
        return torch.cat(parts, -1)

    def _densities(
        self, batch: Batch, vectors: Tensor, draws: int | None, guide: bool
    ) -> "Densities":
        rows, structure = vectors.shape[1], self.structure
        sites = self._sites(batch)
        columns = LatentSites(sites, structure.draw_dim, rows)
        values = columns.by_site(vectors, self.transforms)
        given, volumes = poutine.Trace(), []
        sizes = [shape.numel() for shape in self.shapes.values()]
        for (name, transform), part in zip(
            self.transforms.items(), vectors.split(sizes, -1), strict=True
        ):
            part = part.reshape(*vectors.shape[:2], *self.shapes[name])
            volume = transform.log_abs_det_jacobian(part, transform(part))
            volumes.append(volume.flatten(2).sum(-1) if volume.dim() > 2 else volume)
            value = values[name]
            if draws is None:
                value = value.reshape(_shape(sites[name]))
            given.add_node(name, **{**sites[name], "value": value, "infer": {}})
        volume = torch.stack(volumes).sum(0)
        if guide:
            drawn, model = execute(self.pair, batch, structure, given)
        else:
            model = run_model(self.pair, batch, structure, given)
        log_prior, log_joint, _ = model_densities(model, structure, rows, draws)
        density = torch.full_like(log_joint, torch.nan)
        if guide and self.scores:
            density = guide_density(drawn, structure, rows, draws)
        return Densities(density + volume, log_prior + volume, log_joint + volume)

    def _sites(self, batch: Batch) -> Sites:
        """Return the guide's latent sites in a run on a batch, for their shapes."""
        rows = len(batch[0])
        if rows not in self.seen:
            guide = run_pair(self.pair, batch)[0]
            self.seen[rows] = {name: of_value_shape(guide[name]) for name in self.transforms}
        return self.seen[rows]


def target_of(pair: Pair, batch: Batch, structure: Structure) -> Target:
    """Return the target of a pair.

    Raises:
        Unsupported: if a latent is discrete or masked, or has a support to which no map from the
            real line is known, or one that depends on other latents; the message names the site.
    """
    guide, model = run_pair(pair, batch)
    _, again = run_pair(pair, batch)
    transforms: dict[str, Transform] = {}
    for name in structure.latents:
        if is_masked(guide[name]) or is_masked(model[name]):
            raise Unsupported(f"latent site {name!r} is masked")
        if model[name]["fn"].support is constraints.sphere:
            transforms[name] = Direction()
            continue
        if not same_support(model[name], again[name]):
            raise Unsupported(
                f"the support of latent site {name!r}, "
                f"{support_text(model[name]['fn'].support)} at one draw, depends on other latents"
            )
        transforms[name] = bijection(model[name])
    shapes = {}
    for name, transform in transforms.items():
        value = by_datapoint(guide[name]["value"], guide[name], None)
        event = value.shape[value.dim() - guide[name]["fn"].event_dim :]
        inner = value.shape[1 : value.dim() - len(event)]
        shapes[name] = torch.Size((*inner, *transform.inverse_shape(event)))
    way = way_of(pair, batch, structure)
    scores = not latents_unscored(execute(pair, batch, structure)[0])
    return Target(pair, batch, structure, way, transforms, shapes, scores)


def draws_plate(structure: Structure, draws: int) -> AbstractContextManager[object]:
    """Return the plate of several draws at once."""
    plate: AbstractContextManager[object] = pyro.plate(DRAWS, draws, dim=structure.draw_dim)
    return plate


def _shape(site: Site) -> torch.Size:
    shape: torch.Size = site["fn"].batch_shape + site["fn"].event_shape
    return shape
