"""Does the gap between log P(X) and the ELBO come from the guide's family or its network?"""

from ppvae.diagnostics.inference_gaps.amortization import gaps

__all__ = [
    "gaps",
]
