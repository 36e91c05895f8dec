"""From a diagnosis to draws that can be trusted, datapoint by datapoint."""

from ppvae.diagnostics.posterior_refinement.escalation import BRIEF, THOROUGH, Escalation
from ppvae.diagnostics.posterior_refinement.ladder import refine
from ppvae.diagnostics.posterior_refinement.refined import Refined

__all__ = [
    "BRIEF",
    "THOROUGH",
    "Escalation",
    "Refined",
    "refine",
]
