"""The normal distribution of all latents jointly, with every correlation."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Transform, biject_to

from ppvae.engine import PLATE, Unsupported, plates
from ppvae.refinement.approximations import Approximation, Values
from ppvae.refinement.own_family import OwnFamily

_DRAWS = 256  # from which the first, uncorrelated normal is computed


@dataclass(frozen=True)
class JointNormal(Approximation):
    """N(loc, L L^T) over the unconstrained values u of all latents of a datapoint.

    log q(z) = log N(u; loc, L L^T) - log |det dz/du|, with u -> z the bijections onto the sites'
    supports (Kucukelbir, Tran, Ranganath, Gelman and Blei, "Automatic Differentiation Variational
    Inference", 2017).

    Args:
        family: the guide's family, for the shapes of its sites.
        transforms: from unconstrained values onto the support, by site.
        loc: `(data, values)`.
        scale_tril: L, `(data, values, values)`.
    """

    family: OwnFamily
    transforms: Mapping[str, Transform]
    loc: Tensor
    scale_tril: Tensor

    def offsets(self) -> list[Tensor]:
        """Return zeros: a mean and a lower triangle, in units of the present distribution."""
        return [torch.zeros_like(self.loc), torch.zeros_like(self.scale_tril)]

    def moved(self, offsets: Sequence[Tensor]) -> Self:
        """Return N(loc + L m, (L T) (L T)^T), T of the offsets, its diagonal in logarithms."""
        shift, triangle = offsets
        # A row's noise is the sum of its entries' noise: smaller steps keep it that of the mean.
        triangle = triangle / math.sqrt(triangle.shape[-1])
        logarithms = triangle.diagonal(dim1=-2, dim2=-1)
        factor = triangle.tril(-1) + torch.diag_embed(logarithms.exp())
        loc = self.loc + (self.scale_tril @ shift.unsqueeze(-1)).squeeze(-1)
        return replace(self, loc=loc, scale_tril=self.scale_tril @ factor)

    def rescaled(self) -> Self:
        """Return it unchanged: its offsets are in units of its own width already."""
        return self

    def rsample(self, draws: int) -> Values:
        """Return draws of every site, gradients passing through them."""
        return _by_site(self._normal().rsample((draws,)), self.family, self.transforms)

    def log_prob(self, values: Values) -> Tensor:
        """Return log N(u) - log |det dz/du|, `(draw, data)`."""
        columns, total = [], []
        for name, transform in self.transforms.items():
            unconstrained = transform.inv(values[name])
            change = transform.log_abs_det_jacobian(unconstrained, values[name])
            total.append(self.family.per_datapoint(name, change))
            columns.append(_columns(unconstrained, self.family, name))
        log_prob: Tensor = self._normal().log_prob(torch.cat(columns, -1))
        return log_prob - torch.stack(total).sum(0)

    def _normal(self) -> MultivariateNormal:
        return MultivariateNormal(self.loc, scale_tril=self.scale_tril, validate_args=False)


def uncorrelated_normal(family: OwnFamily) -> JointNormal:
    """Return the uncorrelated normal with the means and standard deviations of a guide's family.

    Raises:
        Unsupported: if a site's support has no bijection from unconstrained values.
    """
    transforms, columns = {}, []
    values = family.rsample(_DRAWS)
    for name, site in family.sites.items():
        try:
            transforms[name] = biject_to(site["fn"].support)
        except NotImplementedError:
            raise Unsupported(
                "a normal over all latents needs unconstrained values, but for the support of "
                f"latent site {name!r}, {site['fn'].support}, no bijection is known; pass "
                "normal=False"
            ) from None
        columns.append(_columns(transforms[name].inv(values[name]), family, name))
    unconstrained = torch.cat(columns, -1)
    scale_tril = torch.diag_embed(unconstrained.std(0))
    return JointNormal(family, transforms, unconstrained.mean(0), scale_tril)


def _data_dim(family: OwnFamily, name: str) -> int:
    return next(int(frame.dim) for frame in plates(family.sites[name]) if frame.name == PLATE)


def _columns(values: Tensor, family: OwnFamily, name: str) -> Tensor:
    """Arrange a site's values, `(draw, ..., *plates, *event)`, as `(draw, data, values)`."""
    batch = family.sites[name]["fn"].batch_shape
    event = values.shape[-family.draw_dim :]
    values = values.reshape(len(values), *batch, *event)
    values = values.movedim(1 + len(batch) + _data_dim(family, name), 1)
    return values.reshape(*values.shape[:2], -1)


def _by_site(
    columns: Tensor, family: OwnFamily, transforms: Mapping[str, Transform]
) -> dict[str, Tensor]:
    """Put `(draw, data, values)` into the shapes of the sites, and onto their supports."""
    values, start, draws = {}, 0, len(columns)
    for name, transform in transforms.items():
        distribution = family.sites[name]["fn"]
        batch = distribution.batch_shape
        event = transform.inverse_shape(distribution.event_shape)
        dim = len(batch) + _data_dim(family, name)
        others = (*batch[:dim], *batch[dim + 1 :], *event)
        end = start + torch.Size(others).numel()
        part = columns[..., start:end].reshape(draws, family.rows, *others)
        missing = -family.draw_dim - 1 - len(batch)
        part = part.movedim(1, 1 + dim).reshape(draws, *(1,) * missing, *batch, *event)
        values[name] = transform(part)
        start = end
    return values
