"""Distributions that Pyro lacks, one a file."""

import ppvae.distributions.divergences  # noqa: F401, registers with torch
from ppvae.distributions.diagonal_normal_mixture import DiagonalNormalMixture
from ppvae.distributions.power_spherical import PowerSpherical
from ppvae.distributions.uniform_sphere import UniformSphere

__all__ = [
    "DiagonalNormalMixture",
    "PowerSpherical",
    "UniformSphere",
]
