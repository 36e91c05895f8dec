"""Distributions that Pyro lacks, one a file."""

import ppvae.distributions.divergences  # noqa: F401, registers with torch
from ppvae.distributions.diagonal_normal_mixture import DiagonalNormalMixture
from ppvae.distributions.full_rank_normal import full_rank_normal, outputs_of_full_rank
from ppvae.distributions.label import Label
from ppvae.distributions.markov_chain import MarkovChain
from ppvae.distributions.negative_binomial import NegativeBinomial
from ppvae.distributions.poisson import LARGEST_COUNT, Poisson
from ppvae.distributions.power_spherical import PowerSpherical
from ppvae.distributions.ranges import exponential, held, positive, steady
from ppvae.distributions.student_t import StudentT
from ppvae.distributions.uniform_sphere import UniformSphere

__all__ = [
    "LARGEST_COUNT",
    "DiagonalNormalMixture",
    "Label",
    "MarkovChain",
    "NegativeBinomial",
    "Poisson",
    "PowerSpherical",
    "StudentT",
    "UniformSphere",
    "exponential",
    "full_rank_normal",
    "held",
    "outputs_of_full_rank",
    "positive",
    "steady",
]
