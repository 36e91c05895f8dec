"""The KL of two normals.

The last term of (2) needs no draws: between normals the KL is a formula. In d dimensions

    KL[N(m0, S0) || N(m1, S1)]
        = (tr(S1^-1 S0) + (m1 - m0)' S1^-1 (m1 - m0) - d + log det S1 - log det S0) / 2

where tr is the trace, the sum of the diagonal. Against N(0, I), with an S0 that has variances s^2
on its diagonal and nothing elsewhere, as Q(z|X) has, little is left of it:

    KL[N(m, diag(s^2)) || N(0, I)] = sum of (s^2 + m^2 - 1 - log s^2) / 2
"""

from pathlib import Path

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from . import page
from .measures import Estimate, average


def general(m0: Tensor, s0: Tensor, m1: Tensor, s1: Tensor) -> Tensor:
    """Return the KL of two normals with any covariances, `(d, d)`."""
    shift = m1 - m0
    spread = torch.trace(torch.linalg.solve(s1, s0))
    distance = shift @ torch.linalg.solve(s1, shift)
    return (spread + distance - len(m0) + torch.logdet(s1) - torch.logdet(s0)) / 2


def to_standard(m: Tensor, s: Tensor) -> Tensor:
    """Return the KL of a normal without correlations to N(0, I); `s` are standard deviations."""
    return (s**2 + m**2 - 1 - 2 * s.log()).sum() / 2


def by_draws(m0: Tensor, s0: Tensor, m1: Tensor, s1: Tensor, draws: int) -> Estimate:
    """Average log N(z; m0, S0) - log N(z; m1, S1) over draws z from the first."""
    first, second = MultivariateNormal(m0, s0), MultivariateNormal(m1, s1)
    z = first.sample((draws,))
    return average(first.log_prob(z) - second.log_prob(z))


def covariance(dimensions: int) -> Tensor:
    """Return some covariance, full of correlations."""
    factor = torch.randn(dimensions, dimensions, dtype=torch.float64)
    return factor @ factor.T / dimensions + 0.3 * torch.eye(dimensions, dtype=torch.float64)


def show(folder: Path, size: float) -> dict[str, tuple[float, float, Estimate]]:
    """Compare formula, torch and draws: two full covariances, and one normal to N(0, I)."""
    page.begin(8, __doc__)
    torch.manual_seed(0)
    draws = page.share(200_000, size, 10_000)
    zero, one = torch.zeros(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
    m, s = torch.randn_like(zero), torch.rand_like(zero) + 0.2
    cases = {
        "two normals in 4 dimensions": (m, covariance(4), m.flip(0), covariance(4)),
        "one of them to N(0, I)": (m, covariance(4), zero, one),
        "one without correlations to N(0, I)": (m, torch.diag(s**2), zero, one),
    }
    measured = {}
    for name, (m0, s0, m1, s1) in cases.items():
        known = kl_divergence(MultivariateNormal(m0, s0), MultivariateNormal(m1, s1))
        formula = general(m0, s0, m1, s1).item()
        measured[name] = formula, known.item(), by_draws(m0, s0, m1, s1, draws)
    short = to_standard(m, s).item()
    _, known, estimate = measured["one without correlations to N(0, I)"]
    measured["the same by the short formula"] = short, known, estimate
    page.table(
        ("KL in nats", "formula", "torch", f"{draws:,} draws"),
        *(
            (name, f"{one:.6f}", f"{two:.6f}", three)
            for name, (one, two, three) in measured.items()
        ),
    )
    return measured
