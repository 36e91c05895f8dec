"""Tables as people have them: read, understood column by column, and turned into tensors."""

from ppvae.data.tabular.cells import Cells, Frame
from ppvae.data.tabular.columns import (
    Binary,
    Category,
    Column,
    Count,
    Date,
    Positive,
    Proportion,
    Real,
)
from ppvae.data.tabular.frames import as_frame
from ppvae.data.tabular.schema import Schema

__all__ = [
    "Binary",
    "Category",
    "Cells",
    "Column",
    "Count",
    "Date",
    "Frame",
    "Positive",
    "Proportion",
    "Real",
    "Schema",
    "as_frame",
]
