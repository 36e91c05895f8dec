"""Model/guide pairs, one generative structure a file."""

from ppvae.pairs.assembly import assemble
from ppvae.pairs.conditional_vae import ConditionalVAE
from ppvae.pairs.deep_markov_model import DeepMarkovModel
from ppvae.pairs.experts import (
    Experts,
    MixtureOfExperts,
    MixtureOfProducts,
    ProductOfExperts,
)
from ppvae.pairs.families import explained
from ppvae.pairs.multimodal_vae import MultimodalVAE
from ppvae.pairs.programs import Program, ProgramPair
from ppvae.pairs.refitting import refit_prior
from ppvae.pairs.spatial_vae import SpatialVAE
from ppvae.pairs.vae import VAE

__all__ = [
    "VAE",
    "ConditionalVAE",
    "DeepMarkovModel",
    "Experts",
    "MixtureOfExperts",
    "MixtureOfProducts",
    "MultimodalVAE",
    "ProductOfExperts",
    "Program",
    "ProgramPair",
    "SpatialVAE",
    "assemble",
    "explained",
    "refit_prior",
]
