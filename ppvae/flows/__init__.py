"""Normalising flows: learned, invertible maps that bend a distribution."""

from ppvae.flows.affine_coupling import AffineCoupling
from ppvae.flows.chain import Chain, Constructor
from ppvae.flows.flow import Flow
from ppvae.flows.inverse_autoregressive import InverseAutoregressive
from ppvae.flows.reversal import Reversal

__all__ = [
    "AffineCoupling",
    "Chain",
    "Constructor",
    "Flow",
    "InverseAutoregressive",
    "Reversal",
]
