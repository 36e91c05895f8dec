"""Datasets: arrays that know their shape, support and splits."""

from ppvae.data.dataset import Dataset, split
from ppvae.data.digits import digits

__all__ = ["Dataset", "digits", "split"]
