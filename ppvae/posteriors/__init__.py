"""Posteriors q(z|x), one short file a family: modules that turn data into a distribution."""

import ppvae.posteriors.divergences  # noqa: F401, registers with torch
from ppvae.posteriors.diagonal_normal import DiagonalNormal
from ppvae.posteriors.flow_posterior import FlowPosterior
from ppvae.posteriors.full_rank_normal import FullRankNormal
from ppvae.posteriors.laplace import Laplace
from ppvae.posteriors.low_rank_normal import LowRankNormal
from ppvae.posteriors.markov import Markov
from ppvae.posteriors.normal_mixture import NormalMixture
from ppvae.posteriors.posterior import Posterior
from ppvae.posteriors.power_spherical import PowerSpherical

__all__ = [
    "DiagonalNormal",
    "FlowPosterior",
    "FullRankNormal",
    "Laplace",
    "LowRankNormal",
    "Markov",
    "NormalMixture",
    "Posterior",
    "PowerSpherical",
]
