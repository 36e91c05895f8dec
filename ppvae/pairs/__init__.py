"""Model/guide pairs, one generative structure a file."""

from ppvae.pairs.assembly import assemble
from ppvae.pairs.conditional_vae import ConditionalVAE
from ppvae.pairs.families import explained
from ppvae.pairs.refitting import refit_prior
from ppvae.pairs.semi_supervised_vae import SemiSupervisedVAE
from ppvae.pairs.vae import VAE

__all__ = [
    "VAE",
    "ConditionalVAE",
    "SemiSupervisedVAE",
    "assemble",
    "explained",
    "refit_prior",
]
