"""Likelihoods p(x|z), one short file a family."""

from ppvae.likelihoods.bernoulli import Bernoulli
from ppvae.likelihoods.binomial import Binomial
from ppvae.likelihoods.continuous_bernoulli import ContinuousBernoulli
from ppvae.likelihoods.grey_bernoulli import GreyBernoulli
from ppvae.likelihoods.likelihood import Likelihood
from ppvae.likelihoods.normal import LearnedScale, Normal

__all__ = [
    "Bernoulli",
    "Binomial",
    "ContinuousBernoulli",
    "GreyBernoulli",
    "LearnedScale",
    "Likelihood",
    "Normal",
]
