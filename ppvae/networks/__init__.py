"""Networks: tensor to tensor, nothing probabilistic, under any leading batch dimensions."""

from ppvae.networks.autocast import Autocast
from ppvae.networks.backward_gru import BackwardGRU
from ppvae.networks.canvas import Canvas
from ppvae.networks.conditions import First, Joined
from ppvae.networks.convolutional import ConvDecoder, ConvEncoder
from ppvae.networks.encoder_input import EncoderInput
from ppvae.networks.gated_transition import GatedTransition
from ppvae.networks.linear_given import LinearGiven
from ppvae.networks.mlp import MLP
from ppvae.networks.one_hot import OneHot
from ppvae.networks.recomputed import Recomputed
from ppvae.networks.recurrent import GRUDecoder, GRUEncoder
from ppvae.networks.residual_convolutional import ResidualConvDecoder, ResidualConvEncoder
from ppvae.networks.residual_mlp import ResidualMLP
from ppvae.networks.scaled import Scaled
from ppvae.networks.spatial_decoder import SpatialDecoder
from ppvae.networks.standardized import Standardized
from ppvae.networks.topics import Topics

__all__ = [
    "MLP",
    "Autocast",
    "BackwardGRU",
    "Canvas",
    "ConvDecoder",
    "ConvEncoder",
    "EncoderInput",
    "First",
    "GRUDecoder",
    "GRUEncoder",
    "GatedTransition",
    "Joined",
    "LinearGiven",
    "OneHot",
    "Recomputed",
    "ResidualConvDecoder",
    "ResidualConvEncoder",
    "ResidualMLP",
    "Scaled",
    "SpatialDecoder",
    "Standardized",
    "Topics",
]
