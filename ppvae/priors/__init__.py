"""Priors p(z), one short file a family: modules whose forward returns a distribution."""

from ppvae.priors.laplace import Laplace
from ppvae.priors.normal_mixture import NormalMixture
from ppvae.priors.prior import Prior
from ppvae.priors.standard_normal import StandardNormal
from ppvae.priors.student_t import StudentT
from ppvae.priors.uniform_sphere import UniformSphere

__all__ = [
    "Laplace",
    "NormalMixture",
    "Prior",
    "StandardNormal",
    "StudentT",
    "UniformSphere",
]
