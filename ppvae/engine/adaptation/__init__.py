"""Presents any pair as one whose rows stand in the plate "data" and whose batch is tensors."""

from ppvae.engine.adaptation.adapted import Adapted
from ppvae.engine.adaptation.adapting import adapted, redrawn, trained
from ppvae.engine.adaptation.arguments import Arguments, batch_of
from ppvae.engine.adaptation.as_one import as_one
from ppvae.engine.adaptation.forms import PLAIN, Form
from ppvae.engine.adaptation.lazy_batches import lazy_batch, lazy_parts
from ppvae.engine.adaptation.sources import Reading, arguments_of, is_map_style

__all__ = [
    "PLAIN",
    "Adapted",
    "Arguments",
    "Form",
    "Reading",
    "adapted",
    "arguments_of",
    "as_one",
    "batch_of",
    "is_map_style",
    "lazy_batch",
    "lazy_parts",
    "redrawn",
    "trained",
]
