"""Datasets: arrays that know their shape, support and splits."""

from ppvae.data.arrays import array
from ppvae.data.dataset import Dataset, split
from ppvae.data.files import memory
from ppvae.data.handwriting import digits, mnist
from ppvae.data.new_values import NewValues, values_like
from ppvae.data.pictures import images
from ppvae.data.standardization import Standardization
from ppvae.data.supports import Categories, categories, merged, open_unit_interval
from ppvae.data.synthetic import colors, factors, redness, segments
from ppvae.data.table import table
from ppvae.data.tabular import Schema

__all__ = [
    "Categories",
    "Dataset",
    "NewValues",
    "Schema",
    "Standardization",
    "array",
    "categories",
    "colors",
    "digits",
    "factors",
    "images",
    "memory",
    "merged",
    "mnist",
    "open_unit_interval",
    "redness",
    "segments",
    "split",
    "table",
    "values_like",
]
