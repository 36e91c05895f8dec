"""Likelihoods p(x|z), one short file a family."""

from ppvae.likelihoods.bernoulli import Bernoulli
from ppvae.likelihoods.beta import Beta
from ppvae.likelihoods.binomial import Binomial
from ppvae.likelihoods.categorical import Categorical
from ppvae.likelihoods.columns import Columns
from ppvae.likelihoods.continuous_bernoulli import ContinuousBernoulli
from ppvae.likelihoods.discretized_logistic_mixture import DiscretizedLogisticMixture
from ppvae.likelihoods.each_step import EachStep
from ppvae.likelihoods.gray_bernoulli import GrayBernoulli
from ppvae.likelihoods.likelihood import Likelihood
from ppvae.likelihoods.log_normal import LogNormal
from ppvae.likelihoods.masked import Masked
from ppvae.likelihoods.multinomial import Multinomial
from ppvae.likelihoods.negative_binomial import NegativeBinomial
from ppvae.likelihoods.normal import LearnedScale, Normal
from ppvae.likelihoods.poisson import Poisson
from ppvae.likelihoods.size_factors import FeatureSizes, ObservedSize, SizeFactor, UnitSize
from ppvae.likelihoods.student_t import StudentT
from ppvae.likelihoods.units import Units
from ppvae.likelihoods.zero_inflated_negative_binomial import ZeroInflatedNegativeBinomial

__all__ = [
    "Bernoulli",
    "Beta",
    "Binomial",
    "Categorical",
    "Columns",
    "ContinuousBernoulli",
    "DiscretizedLogisticMixture",
    "EachStep",
    "FeatureSizes",
    "GrayBernoulli",
    "LearnedScale",
    "Likelihood",
    "LogNormal",
    "Masked",
    "Multinomial",
    "NegativeBinomial",
    "Normal",
    "ObservedSize",
    "Poisson",
    "SizeFactor",
    "StudentT",
    "UnitSize",
    "Units",
    "ZeroInflatedNegativeBinomial",
]
