"""Datasets: arrays that know their shape, support and splits."""

from ppvae.data.arrays import array
from ppvae.data.block_shuffling import BlockShuffling
from ppvae.data.cells import counts
from ppvae.data.dataset import Dataset
from ppvae.data.disk import on_disk
from ppvae.data.eeg import eeg
from ppvae.data.files import memory
from ppvae.data.given_classes import GivenClasses, class_names, given_classes
from ppvae.data.handwriting import digits, mnist
from ppvae.data.lazy_rows import LazyRows
from ppvae.data.measured_tables import breast_cancer, wine
from ppvae.data.new_values import NewValues, values_like
from ppvae.data.notebook_tables import html_table
from ppvae.data.padded_sequences import sequences
from ppvae.data.pictures import images
from ppvae.data.posed_images import posed
from ppvae.data.removed_cells import without_cells
from ppvae.data.row_pieces import spread
from ppvae.data.rows_on_disk import RowsOnDisk, rows_of_map
from ppvae.data.series_lengths import with_lengths
from ppvae.data.sparse_rows import SparseRows
from ppvae.data.splitting import split
from ppvae.data.standardization import Standardization
from ppvae.data.state_space import state_space
from ppvae.data.supports import (
    Categories,
    categories,
    filling,
    merged,
    open_unit_interval,
    support_of,
)
from ppvae.data.synthetic import colors, factors, redness, segments
from ppvae.data.table import inferred_schema, table
from ppvae.data.tabular import Schema
from ppvae.data.topic_documents import documents, topic_documents, topic_words
from ppvae.data.two_views import every_subset, halves

__all__ = [
    "BlockShuffling",
    "Categories",
    "Dataset",
    "GivenClasses",
    "LazyRows",
    "NewValues",
    "RowsOnDisk",
    "Schema",
    "SparseRows",
    "Standardization",
    "array",
    "breast_cancer",
    "categories",
    "class_names",
    "colors",
    "counts",
    "digits",
    "documents",
    "eeg",
    "every_subset",
    "factors",
    "filling",
    "given_classes",
    "halves",
    "html_table",
    "images",
    "inferred_schema",
    "memory",
    "merged",
    "mnist",
    "on_disk",
    "open_unit_interval",
    "posed",
    "redness",
    "rows_of_map",
    "segments",
    "sequences",
    "split",
    "spread",
    "state_space",
    "support_of",
    "table",
    "topic_documents",
    "topic_words",
    "values_like",
    "wine",
    "with_lengths",
    "without_cells",
]
