"""Variational autoencoders as probabilistic programs in Pyro."""

from importlib.metadata import version

from ppvae.diagnostics import from_pyro_svi
from ppvae.engine import Unsupported
from ppvae.inference import fit, load, save
from ppvae.pairs import VAE, refit_prior

__version__ = version("ppvae")

__all__ = [
    "VAE",
    "Unsupported",
    "fit",
    "from_pyro_svi",
    "load",
    "refit_prior",
    "save",
]
