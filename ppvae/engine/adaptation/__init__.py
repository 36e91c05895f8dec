"""Presents any pair as one whose rows stand in the plate "data" and whose batch is tensors."""

from ppvae.engine.adaptation.adapted import Adapted
from ppvae.engine.adaptation.adapting import adapted, redrawn, trained
from ppvae.engine.adaptation.arguments import arguments_of, batch_of
from ppvae.engine.adaptation.forms import PLAIN, Form

__all__ = ["PLAIN", "Adapted", "Form", "adapted", "arguments_of", "batch_of", "redrawn", "trained"]
