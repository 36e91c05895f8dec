"""Datasets: arrays that know their shape, support and splits."""

from ppvae.data.arrays import array
from ppvae.data.dataset import Dataset, split
from ppvae.data.files import memory
from ppvae.data.handwriting import digits, mnist
from ppvae.data.pictures import images
from ppvae.data.standardization import Standardization
from ppvae.data.synthetic import colors, factors, redness, segments

__all__ = [
    "Dataset",
    "Standardization",
    "array",
    "colors",
    "digits",
    "factors",
    "images",
    "memory",
    "mnist",
    "redness",
    "segments",
    "split",
]
