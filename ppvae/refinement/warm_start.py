"""Where the search for the best posteriors begins: at a mode, with the curvature there."""

from dataclasses import replace

import torch
from torch import Tensor

from ppvae.refinement.climbing import Climbed, climb
from ppvae.refinement.curvature import curvature_at
from ppvae.refinement.elbo_maximization import STAGES, elbo_of, maximize_elbo
from ppvae.refinement.joint_densities import JointDensity
from ppvae.refinement.joint_normal import JointNormal
from ppvae.refinement.own_family import OwnFamily

_CLIMBING = 30  # evaluations of a climb at most
_FITTING = 100  # steps at most that fit a family to a normal, without the model
_PARTICLES, _RATE = 8, 0.1


def at_mode(normal: JointNormal, target: JointDensity, steps: int) -> JointNormal:
    """Return the normal at the mode that its mean leads to, its covariance by the curvature there.

    A normal that the search begins with there needs a fraction of its steps (Tierney and Kadane,
    "Accurate Approximations for Posterior Moments and Marginal Densities", 1986). Where a climb
    ends at no finite density, the normal stays as it is.

    Args:
        normal: a rough one.
        target: log p(x, z).
        steps: of the search that follows, of which a climb takes a small part.
    """
    function = _unconstrained(normal, target)
    widths = normal.scale_tril.diagonal(dim1=-2, dim2=-1)
    ends, values = climb(function, normal.loc[None], widths, min(_CLIMBING, steps // 8))
    finite = values[0].isfinite() & ends[0].isfinite().all(-1)
    place = torch.where(finite[:, None], ends[0], normal.loc)
    found = curvature_at(function, place, widths)
    again = curvature_at(function, place, found.widths) if bool(found.far.any()) else found
    factor = torch.where(found.far[:, None, None], again.factor, found.factor)
    finite &= factor.isfinite().all(-1).all(-1)
    return replace(
        normal,
        loc=torch.where(finite[:, None], place, normal.loc),
        scale_tril=torch.where(finite[:, None, None], factor, normal.scale_tril),
    )


def fitted_to(
    normal: JointNormal, family: OwnFamily, target: JointDensity, steps: int
) -> OwnFamily:
    """Return the guide's family fitted to a normal, where its ELBO is then higher than before.

    The normal stands in for p(z|x): the fit runs nothing of the pair.

    Args:
        normal: an approximation of the posterior.
        family: the guide's, at the guide's own parameters.
        target: log p(x, z).
        steps: of the search that follows.
    """
    fitted, few = family, max(2 * STAGES, min(_FITTING, steps // 4))
    for stage in maximize_elbo(
        family, normal.log_prob, steps=few, particles=_PARTICLES, learning_rate=_RATE
    ):
        fitted = stage
    before, after = (elbo_of(one, target, _PARTICLES) for one in (family, fitted))
    return family.replaced(after > before, fitted)


def _unconstrained(normal: JointNormal, target: JointDensity) -> Climbed:
    """Return log p(x, z(u)) |dz/du| with its gradient by u, `(start, data, value)`."""

    def function(places: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf = places.detach().requires_grad_()
            values = normal.latents.by_site(leaf, normal.transforms)
            volume = normal.log_volume(values)
            slopes = target.gradient(values)
            total = volume.sum()
            for name, value in values.items():
                total = total + (slopes[name] * value).sum()
            (gradient,) = torch.autograd.grad(total, leaf)
        with torch.no_grad():
            return target(values) + volume, gradient

    return function
