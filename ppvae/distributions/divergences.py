"""Closed forms of KL[q || p] between distributions of this room."""

from torch import Tensor
from torch.distributions import register_kl

from ppvae.distributions.power_spherical import PowerSpherical
from ppvae.distributions.uniform_sphere import UniformSphere


def _kl(q: PowerSpherical, p: UniformSphere) -> Tensor:
    """KL[PowerSpherical || uniform] = log area - entropy of q."""
    return p.entropy() - q.entropy()


register_kl(PowerSpherical, UniformSphere)(_kl)
