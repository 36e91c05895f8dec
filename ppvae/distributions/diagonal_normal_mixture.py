"""A mixture of normals whose draws can be differentiated."""

import math
from typing import Any, ClassVar

import torch
from pyro.distributions import constraints
from torch import Tensor, nn
from torch.special import log_ndtr

from ppvae.distributions.expandable import Expandable

_ONE = torch.Size()
_MATRIX = constraints.independent(constraints.real, 2)
_POSITIVE_MATRIX = constraints.independent(constraints.positive, 2)


class DiagonalNormalMixture(Expandable):
    """The mixture sum_k w_k N(z; loc_k, diag(scale_k)^2), differentiable in all its parameters.

    A draw chooses a component and draws from it. Its derivatives are those of the inverse of
    u_i = F(z_i | z_1, ..., z_(i-1)), the distribution function of each coordinate given the ones
    before, which maps z to uniform variables:

        dz/dphi = -(du/dz)^-1 du/dphi

    (Graves, "Stochastic backpropagation through mixture density distributions", 2016; Figurnov,
    Mohamed and Mnih, "Implicit reparameterization gradients", 2018). They are unbiased in the
    weights too. Their variance is large if components are far apart.

    `pyro.distributions.MixtureOfDiagNormals` uses another estimator. It supports neither a single
    coordinate nor equal locations, has no mean, and its `rsample` mixes up batches when a sample
    shape is given.

    Args:
        logits: of w, `(*, components)`.
        loc: `(*, components, features)`.
        scale: `(*, components, features)`, positive.

    Raises:
        ValueError: if the shapes do not fit; with validation on, also if a scale is not positive.

    Example:
        >>> loc = torch.tensor([[-2.0, 0.0], [2.0, 0.0]], requires_grad=True)
        >>> mixture = DiagonalNormalMixture(torch.zeros(2), loc, torch.ones(2, 2))
        >>> mixture.rsample((5,)).sum().backward()
        >>> round(loc.grad[:, 1].sum().item(), 4)  # draws move with their components
        5.0
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "logits": constraints.real_vector,
        "loc": _MATRIX,
        "scale": _POSITIVE_MATRIX,
    }
    support = constraints.real_vector

    def __init__(
        self, logits: Tensor, loc: Tensor, scale: Tensor, validate_args: bool | None = None
    ) -> None:
        if loc.dim() < 2 or loc.shape != scale.shape or loc.shape[:-1] != logits.shape:
            raise ValueError(
                "DiagonalNormalMixture needs logits (*, components), loc and scale (*, "
                f"components, features), got shapes {tuple(logits.shape)}, {tuple(loc.shape)} "
                f"and {tuple(scale.shape)}"
            )
        self.logits, self.loc, self.scale = logits, loc, scale
        super().__init__(logits.shape[:-1], loc.shape[-1:], validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        """sum_k w_k loc_k."""
        return (self.logits.softmax(-1).unsqueeze(-1) * self.loc).sum(-2)

    @property
    def variance(self) -> Tensor:
        """Of each coordinate, sum_k w_k (scale_k^2 + (loc_k - mean)^2)."""
        squares = self.scale.square() + (self.loc - self.mean.unsqueeze(-2)).square()
        return (self.logits.softmax(-1).unsqueeze(-1) * squares).sum(-2)

    def rsample(self, sample_shape: Any = _ONE) -> Tensor:
        """Draw `(*sample_shape, *batch_shape, features)`."""
        with torch.no_grad():
            shape = self._extended_shape(sample_shape)
            which = torch.distributions.Categorical(logits=self.logits).sample(sample_shape)
            loc, scale = (_chosen(part, which, shape) for part in (self.loc, self.scale))
            z = loc + scale * torch.randn_like(loc)
        if not torch.is_grad_enabled():
            return z
        return z + _implicit_gradient(z, self.logits, self.loc, self.scale)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density in nats, for each value."""
        if self._validate_args:
            self._validate_sample(value)
        _, log_densities = _standardized(value, self.loc, self.scale)
        log_joint: Tensor = self.logits.log_softmax(-1) + log_densities.sum(-1)
        return log_joint.logsumexp(-1)


def _chosen(part: Tensor, which: Tensor, shape: torch.Size) -> Tensor:
    """Return the rows of `part` that belong to the drawn components, in the draws' shape."""
    index = which[..., None, None].expand(*shape[:-1], 1, shape[-1])
    return part.expand(*shape[:-1], *part.shape[-2:]).gather(-2, index).squeeze(-2)


def _standardized(value: Tensor, loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return (z - loc) / scale and the log density of each coordinate in each component.

    Distances are capped where a component has zero weight but the square is still finite: infinity
    times zero would make the derivatives NaN.
    """
    farthest = torch.finfo(value.dtype).max ** 0.45
    distance = value.unsqueeze(-2) - loc
    far = distance.abs() > farthest * scale
    near = torch.where(far, 0.0, distance) / scale
    standard = torch.where(far, farthest * distance.detach().sign(), near)
    return standard, -0.5 * (standard.square() + math.log(2 * math.pi)) - scale.log()


def _implicit_gradient(z: Tensor, logits: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """Return zeros whose derivative is that of the draws `z`."""
    standard, log_densities = _standardized(z, loc, scale)
    # Summed forward, not subtracted from the total: a far coordinate would round the others away.
    before = nn.functional.pad(log_densities[..., :-1].cumsum(-1), (1, 0))
    log_weights = (logits.unsqueeze(-1) + before).log_softmax(-2)
    most = torch.finfo(z.dtype).max
    with torch.no_grad():
        log_joint = log_weights + log_densities
        log_density = log_joint.logsumexp(-2, keepdim=True)
        # The lower or the upper tail, whichever is below one half. The weights sum to one, so a
        # constant added to all distribution functions changes only the rounding.
        below = (log_weights + log_ndtr(standard)).logsumexp(-2, keepdim=True) < math.log(0.5)
        side = torch.where(below, 1.0, -1.0).to(z.dtype)
        tails = side * (log_weights + log_ndtr(side * standard) - log_density).exp()
        stretch = (log_joint - log_density).exp() * scale
        slopes = (-standard / scale).clamp(-most, most)
        mean_slopes = log_weights.exp().mT @ slopes
        jacobian = tails.mT @ slopes - tails.sum(-2).unsqueeze(-1) * mean_slopes
    change = -(tails * log_weights + stretch * standard).sum(-2)
    moved: Tensor = torch.linalg.solve_triangular(
        jacobian.tril(-1),
        (change - change.detach()).unsqueeze(-1),
        upper=False,
        unitriangular=True,
    )
    return moved.squeeze(-1)
