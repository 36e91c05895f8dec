"""A linear-Gaussian pair whose guide is far from the posterior, with refined draws of it."""

import functools
from dataclasses import replace

from ppvae import diagnostics
from tests.linear_gaussian import LinearGaussian

DRAWS = 1000


@functools.cache
def far_guide(rows=6):
    """Return the closed forms, the pair, data and what `refine` returns; the guide is narrow."""
    case = LinearGaussian.random(3, features=4)
    case = replace(case, scale=0.2 * case.scale, intercept=case.intercept + 1.0)
    pair, x = case.pair(), case.draw(rows, seed=4)
    return case, pair, x, diagnostics.refine(pair, x, draws=DRAWS)
