"""A lower bound of the KL from an aggregate posterior to its prior, by a fitted normal density."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Transform, biject_to, constraints

from ppvae.engine import Sites

_FOLDS = 5


def held_out_normal(latents: Mapping[str, Tensor], model: Sites) -> Tensor | None:
    """Score draws of the aggregate posterior by normal densities fitted to the other datapoints.

    For every density g, KL[q(z) || p(z)] >= E_q(z)[log g(z) - log p(z)]: the difference is
    KL[q(z) || g(z)]. It holds for any number of datapoints if g knows none of the draws that it
    scores. g is a normal distribution of the latents on the real line, fitted to four fifths of
    the datapoints; its correlations are shrunk by the factor 1 - D / N of D numbers and N
    datapoints.

    Args:
        latents: draws, `(draw, data, *inner plates, *event)`, by site.
        model: the sites of a run of the model.

    Returns:
        log g(z) in nats, `(draw, data)`; None where no map from the real line is known, as for
        discrete latents, or the draws are not finite there, or too few.
    """
    columns, volumes = [], []
    for name, values in latents.items():
        bijection = _bijection(model[name]["fn"])
        if bijection is None:
            return None
        values = values.detach().cpu().double()
        inner = bijection.inv(values)
        volume = bijection.log_abs_det_jacobian(inner, values)
        columns.append(inner.reshape(*inner.shape[:2], -1))
        volumes.append(volume.reshape(*volume.shape[:2], -1).sum(-1))
    points, volume = torch.cat(columns, -1), torch.stack(volumes).sum(0)
    rows = points.shape[1]
    if rows < 2 * _FOLDS or not bool(points.isfinite().all()):
        return None
    random = torch.Generator().manual_seed(0)
    folds = torch.randperm(rows, generator=random) % _FOLDS
    scores = torch.empty_like(volume)
    for fold in range(_FOLDS):
        left_out = folds == fold
        fitted = _normal(points[:, ~left_out])
        if fitted is None:
            return None
        scores[:, left_out] = fitted.log_prob(points[:, left_out])
    return scores - volume


def _normal(points: Tensor) -> torch.distributions.MultivariateNormal | None:
    """Fit a normal distribution to `(draw, data, dimension)`; None if it has no density."""
    rows, dimensions = points.shape[1:]
    flat = points.flatten(0, 1)
    covariance = flat.T.cov().reshape(dimensions, dimensions)
    kept = max(0.0, 1 - dimensions / rows)
    covariance = kept * covariance + (1 - kept) * torch.diag(covariance.diagonal())
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if int(failed):
        return None
    return torch.distributions.MultivariateNormal(flat.mean(0), scale_tril=factor)


def _bijection(prior: Any) -> Transform | None:
    """Return the map from the real line to a support that is the same for all datapoints."""
    try:
        support = prior.support
    except NotImplementedError:  # a family of the user's need not have one
        return None
    while isinstance(support, constraints.MixtureSameFamilyConstraint):
        support = support.base_constraint
    if support.is_discrete:
        return None
    inner = support
    while hasattr(inner, "base_constraint"):
        inner = inner.base_constraint
    bounds = [value for value in vars(inner).values() if isinstance(value, Tensor)]
    if any(bound.numel() > 1 for bound in bounds):
        return None
    try:
        found: Transform = biject_to(support)
    except NotImplementedError:
        return None
    return found
