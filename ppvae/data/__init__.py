"""Datasets: arrays that know their shape, support and splits."""

from ppvae.data.dataset import Dataset, split
from ppvae.data.disk import array
from ppvae.data.drawings import colours, factors, redness, segments
from ppvae.data.handwriting import digits, mnist
from ppvae.data.standardization import Standardization

__all__ = [
    "Dataset",
    "Standardization",
    "array",
    "colours",
    "digits",
    "factors",
    "mnist",
    "redness",
    "segments",
    "split",
]
