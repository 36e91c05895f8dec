"""How far posterior means lie from the guide's."""

import torch
import xarray as xr
from torch import Tensor

from ppvae.diagnostics.given_posterior import GivenPosterior
from ppvae.diagnostics.marginal_likelihood.joint_draws import JointDraws
from ppvae.engine import mean_error


def mean_shifts(drawn: JointDraws, posterior: GivenPosterior | None) -> dict[str, xr.DataArray]:
    """Return `mean_shift` and its error, as `joint_evidence` has them.

    Args:
        drawn: the guide's draws.
        posterior: weighted draws of the posterior; those of the guide, unless given.
    """
    shifts, errors, latents = [], [], []
    for name, values in drawn.latents.items():
        if posterior is None:
            shift, error = _by_weights(values, drawn.log_weights)
        elif name in posterior.weighted:
            shift, error = _from(values, name, posterior)
        else:  # it is summed out there
            continue
        farthest = int(shift.abs().argmax())
        latents.append(name)
        shifts.append(float(shift[farthest]))
        errors.append(float(error[farthest]))
    coordinates = {"latent": ("latent", latents)}
    return {
        "mean_shift": xr.DataArray(shifts, coordinates, ["latent"]),
        "mean_shift_error": xr.DataArray(errors, coordinates, ["latent"]),
    }


def _by_weights(values: Tensor, log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Compare the means of values `(draw, number)` by the weights `(draw, 1)` and without."""
    relative = log_weights.softmax(0) * len(log_weights)
    mean = (relative * values).mean(0)
    scale = _positive((relative * (values - mean).square()).mean(0).sqrt())
    parts = (relative - 1) * (values - mean) / scale
    return parts.mean(0), mean_error(parts)


def _from(values: Tensor, name: str, posterior: GivenPosterior) -> tuple[Tensor, Tensor]:
    """Compare posterior means with those of the guide's values, `(draw, number)`."""
    mean, scale = posterior.means[name].flatten().cpu(), posterior.sds[name].flatten().cpu()
    error = posterior.mean_errors[name].flatten().cpu().hypot(mean_error(values))
    return (mean - values.mean(0)) / _positive(scale), error / _positive(scale)


def _positive(scale: Tensor) -> Tensor:
    return scale.clamp(min=torch.finfo(scale.dtype).tiny)
