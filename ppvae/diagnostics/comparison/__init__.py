"""Which of several pairs is better?"""

from ppvae.diagnostics.comparison.models import compare
from ppvae.diagnostics.comparison.stacking import Stacking, stacking_weights

__all__ = [
    "Stacking",
    "compare",
    "stacking_weights",
]
