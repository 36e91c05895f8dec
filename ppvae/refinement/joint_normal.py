"""The normal distribution of all latents jointly, with every correlation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Transform, biject_to

from ppvae.engine import (
    Batch,
    Pair,
    Structure,
    Unsupported,
    execute,
    is_masked,
    run_guide,
    run_pair,
)
from ppvae.refinement.approximations import Approximation, Values, moved_normal
from ppvae.refinement.latent_sites import LatentSites, of_value_shape
from ppvae.refinement.own_family import OwnFamily
from ppvae.refinement.unconstrained import bijection, same_support

_DRAWS = 256  # from which the first, uncorrelated normal is computed


@dataclass(frozen=True)
class JointNormal(Approximation):
    """N(loc, L L^T) over the unconstrained values u of all latents of a datapoint.

    log q(z) = log N(u; loc, L L^T) - log |det dz/du|, with u -> z the bijections onto the sites'
    supports (Kucukelbir, Tran, Ranganath, Gelman and Blei, "Automatic Differentiation Variational
    Inference", 2017).

    Args:
        latents: the guide's latent sites, for their shapes.
        transforms: from unconstrained values onto the support, by site.
        loc: `(data, values)`.
        scale_tril: L, `(data, values, values)`.
    """

    latents: LatentSites
    transforms: Mapping[str, Transform]
    loc: Tensor
    scale_tril: Tensor

    def offsets(self) -> list[Tensor]:
        """Return zeros: a mean and a lower triangle, in units of the present distribution."""
        return [torch.zeros_like(self.loc), torch.zeros_like(self.scale_tril)]

    def moved(self, offsets: Sequence[Tensor]) -> Self:
        """Return N(loc + L m, (L T) (L T)^T), T of the offsets, its diagonal in logarithms."""
        loc, factor = moved_normal(self.loc, self.scale_tril, offsets)
        return replace(self, loc=loc, scale_tril=factor)

    def rescaled(self) -> Self:
        """Return it unchanged: its offsets are in units of its own width already."""
        return self

    def rsample(self, draws: int) -> Values:
        """Return draws of every site, gradients passing through them."""
        return self.latents.by_site(self._normal().rsample((draws,)), self.transforms)

    def log_prob(self, values: Values) -> Tensor:
        """Return log N(u) - log |det dz/du|, `(draw, data)`."""
        columns = [
            self.latents.columns(name, transform.inv(values[name]))
            for name, transform in self.transforms.items()
        ]
        log_prob: Tensor = self._normal().log_prob(torch.cat(columns, -1))
        return log_prob - self.log_volume(values)

    def log_volume(self, values: Values) -> Tensor:
        """Return log |det dz/du| of values z of every site, `(draw, data)`."""
        parts = [
            self.latents.per_datapoint(
                name, transform.log_abs_det_jacobian(transform.inv(values[name]), values[name])
            )
            for name, transform in self.transforms.items()
        ]
        return torch.stack(parts).sum(0)

    def _normal(self) -> MultivariateNormal:
        return MultivariateNormal(self.loc, scale_tril=self.scale_tril, validate_args=False)


def uncorrelated_normal(family: OwnFamily) -> JointNormal:
    """Return the uncorrelated normal with the means and standard deviations of a guide's family.

    Raises:
        Unsupported: if a site's support has no bijection from unconstrained values.
    """
    transforms, values = {}, family.rsample(_DRAWS)
    for name, site in family.latents.sites.items():
        try:
            transforms[name] = biject_to(site["fn"].support)
        except NotImplementedError:
            raise Unsupported(
                "a normal over all latents needs unconstrained values, but for the support of "
                f"latent site {name!r}, {site['fn'].support}, no bijection is known; pass "
                "normal=False"
            ) from None
    return _with_moments(family.latents, transforms, values)


def normal_like_guide(pair: Pair, batch: Batch, structure: Structure, draws: int) -> JointNormal:
    """Return the uncorrelated normal with the means and standard deviations of a guide's draws.

    The guide is drawn from and nothing else: it needs no parameters that can be set free. Values
    are unconstrained by the model's supports, since the guide's may be narrower.

    Raises:
        Unsupported: if a latent is discrete or masked, has a support without a bijection from
            unconstrained values, or one that depends on other latents; the message names the site.
    """
    guide, model = run_pair(pair, batch)
    _, again = run_pair(pair, batch)
    latents = LatentSites(
        {name: of_value_shape(guide[name]) for name in structure.latents},
        structure.draw_dim,
        len(batch[0]),
    )
    for name in structure.latents:
        if is_masked(guide[name]) or is_masked(model[name]):
            raise Unsupported(f"latent site {name!r} is masked")
        if not same_support(model[name], again[name]):
            raise Unsupported(f"the support of latent site {name!r} depends on other latents")
    transforms = {name: bijection(model[name]) for name in structure.latents}
    if structure.enumerated:
        runs = [execute(pair, batch, structure)[0] for _ in range(draws)]
    else:
        runs = [run_guide(pair, batch).nodes for _ in range(draws)]
    values = {
        name: latents.aligned(name, torch.stack([run[name]["value"] for run in runs]))
        for name in structure.latents
    }
    return _with_moments(latents, transforms, values)


def _with_moments(
    latents: LatentSites, transforms: Mapping[str, Transform], values: Values
) -> JointNormal:
    """Return the uncorrelated normal with the moments of draws, unconstrained."""
    columns = [
        latents.columns(name, transform.inv(values[name]))
        for name, transform in transforms.items()
    ]
    unconstrained = torch.cat(columns, -1)
    scale_tril = torch.diag_embed(unconstrained.std(0))
    return JointNormal(latents, transforms, unconstrained.mean(0), scale_tril)
