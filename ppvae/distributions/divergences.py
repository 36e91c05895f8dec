"""Closed forms of KL[q || p] between distributions of this room."""

from torch import Tensor
from torch.distributions import register_kl

from ppvae.distributions.power_spherical import PowerSpherical
from ppvae.distributions.uniform_sphere import UniformSphere


def _kl(q: PowerSpherical, p: UniformSphere) -> Tensor:
    """KL[PowerSpherical || uniform] = log area - entropy of q."""
    if q.event_shape != p.event_shape:
        raise ValueError(
            "the KL of PowerSpherical to UniformSphere needs both on the same sphere, got "
            f"{q.event_shape[0]} and {p.event_shape[0]} features"
        )
    return p.entropy() - q.entropy()


register_kl(PowerSpherical, UniformSphere)(_kl)
