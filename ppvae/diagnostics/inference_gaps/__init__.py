"""Is the gap between log P(X) and the ELBO the fault of the family, or of the encoder?"""

from ppvae.diagnostics.inference_gaps.amortization import gaps

__all__ = [
    "gaps",
]
