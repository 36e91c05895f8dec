"""Model/guide pairs, one generative structure a file."""

from ppvae.pairs.assembly import assemble
from ppvae.pairs.bayesian_vae import BayesianVAE
from ppvae.pairs.conditional_vae import ConditionalVAE
from ppvae.pairs.deep_markov_model import DeepMarkovModel
from ppvae.pairs.experts import (
    Experts,
    MixtureOfExperts,
    MixtureOfProducts,
    ProductOfExperts,
)
from ppvae.pairs.families import explained
from ppvae.pairs.hierarchical_vae import HierarchicalVAE
from ppvae.pairs.imputed_cells import ImputedCells
from ppvae.pairs.layered_posteriors import BottomUp, Ladder, LayeredPosterior
from ppvae.pairs.missing_data_vae import MissingDataVAE
from ppvae.pairs.mixture_start import mixture_from
from ppvae.pairs.mixture_vae import MixtureVAE
from ppvae.pairs.multimodal_vae import MultimodalVAE
from ppvae.pairs.programs import Program, ProgramPair
from ppvae.pairs.refitting import refit_prior
from ppvae.pairs.semi_supervised_vae import SemiSupervisedVAE
from ppvae.pairs.spatial_vae import SpatialVAE
from ppvae.pairs.topic_model import TopicModel
from ppvae.pairs.vae import VAE

__all__ = [
    "VAE",
    "BayesianVAE",
    "BottomUp",
    "ConditionalVAE",
    "DeepMarkovModel",
    "Experts",
    "HierarchicalVAE",
    "ImputedCells",
    "Ladder",
    "LayeredPosterior",
    "MissingDataVAE",
    "MixtureOfExperts",
    "MixtureOfProducts",
    "MixtureVAE",
    "MultimodalVAE",
    "ProductOfExperts",
    "Program",
    "ProgramPair",
    "SemiSupervisedVAE",
    "SpatialVAE",
    "TopicModel",
    "assemble",
    "explained",
    "mixture_from",
    "refit_prior",
]
