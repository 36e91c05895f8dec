"""Normalizing flows: learned, invertible transforms of a distribution."""

from ppvae.distributions.flows.affine_coupling import AffineCoupling
from ppvae.distributions.flows.chain import Chain, Constructor
from ppvae.distributions.flows.flow import Flow
from ppvae.distributions.flows.inverse_autoregressive import InverseAutoregressive
from ppvae.distributions.flows.reversal import Reversal

__all__ = [
    "AffineCoupling",
    "Chain",
    "Constructor",
    "Flow",
    "InverseAutoregressive",
    "Reversal",
]
