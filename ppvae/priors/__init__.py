"""Priors p(z), one short file a family: modules whose forward returns a distribution."""

from ppvae.priors.conditional_full_rank_normal import ConditionalFullRankNormal
from ppvae.priors.conditional_normal import ConditionalNormal
from ppvae.priors.flow_prior import FlowPrior
from ppvae.priors.laplace import Laplace
from ppvae.priors.learned_normal import LearnedNormal
from ppvae.priors.logistic_normal import LogisticNormal
from ppvae.priors.markov import Markov
from ppvae.priors.normal_mixture import NormalMixture
from ppvae.priors.prior import Prior
from ppvae.priors.pseudo_inputs import PseudoInputs
from ppvae.priors.standard_normal import StandardNormal
from ppvae.priors.student_t import StudentT
from ppvae.priors.uniform_sphere import UniformSphere
from ppvae.priors.vamp_prior import VampPrior

__all__ = [
    "ConditionalFullRankNormal",
    "ConditionalNormal",
    "FlowPrior",
    "Laplace",
    "LearnedNormal",
    "LogisticNormal",
    "Markov",
    "NormalMixture",
    "Prior",
    "PseudoInputs",
    "StandardNormal",
    "StudentT",
    "UniformSphere",
    "VampPrior",
]
