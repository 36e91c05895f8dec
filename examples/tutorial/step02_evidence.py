"""Formula (1): how probable the data are.

How probable is what we saw, if nobody tells us the hidden z? Ask for each z how probable it makes
the data, and average with the probability of z itself:

    P(X) = integral of P(X|z; theta) p(z) dz                                    (1)

If z has few values, the integral is a sum and can be written out. Else it can be estimated: draw
z from p(z) and average P(X|z). The estimate has a standard error, which says how far to trust it.
"""

import math
from collections.abc import Collection, Sequence
from fractions import Fraction
from pathlib import Path

import pyro.distributions as dist
import torch

from . import page
from .measures import Estimate, average, exact

EVENT = range(5)
NOISE = 0.5


def enumerated(event: Collection[int], prior: Sequence[Fraction]) -> Fraction:
    """Sum formula (1) over every z: P(X|z) is 1 where z lies in the event and 0 elsewhere."""
    return sum((p for z, p in enumerate(prior) if z in event), start=Fraction(0))


def sampled(event: Collection[int], values: int, draws: int) -> Estimate:
    """Estimate the same sum for a uniform z, from draws of z."""
    z = torch.randint(values, (draws,))
    return average(torch.isin(z, torch.tensor(list(event))).double())


def density(x: float, draws: int) -> tuple[Estimate, float]:
    """Estimate P(X) for z ~ N(0, 1) and X ~ N(z, NOISE^2), and give its exact value."""
    z = torch.randn(draws, dtype=torch.float64)
    estimate = average(dist.Normal(z, NOISE).log_prob(torch.tensor(x)).exp())
    # A normal plus normal noise is normal, and the variances add.
    known = dist.Normal(0.0, math.sqrt(1 + NOISE**2)).log_prob(torch.tensor(x)).exp()
    return estimate, known.item()


def show(folder: Path, size: float) -> dict[str, object]:
    """Compute a probability by enumeration and by draws of growing number."""
    page.begin(2, __doc__)
    torch.manual_seed(0)
    uniform = enumerated(EVENT, [Fraction(1, 10)] * 10)
    doubling = enumerated(EVENT, [Fraction(2**z, 1023) for z in range(10)])
    page.say(
        f"""Let X be the event that a number from 0 to 9 is one of 0, 1, 2, 3, 4. If all ten are
        equally probable, P(X) = {uniform} = {float(uniform)} exactly. Under another p(z) it is
        another number: if each value is twice as probable as the one before, P(X) = {doubling}
        = {float(doubling):.4f}.

        Draws of z come to the same. The second column is for a z that no sum can run over:
        z ~ N(0, 1) is seen with noise, X = z + {NOISE} N(0, 1), and asked for is the density of X
        at 1."""
    )
    full = page.share(1_000_000, size, 10_000)
    numbers = [100, 10_000, full] if full > 10_000 else [100, 10_000]
    events = [sampled(EVENT, 10, number) for number in numbers]
    densities = [density(1.0, number) for number in numbers]
    page.table(
        ("draws of z", "P(0, 1, 2, 3 or 4)", "density at X = 1"),
        *(
            (f"{number:,}", event, value)
            for number, event, (value, _) in zip(numbers, events, densities, strict=True)
        ),
        ("exact", exact(float(uniform)), exact(densities[0][1])),
    )
    page.say("A hundred times as many draws make the error ten times smaller, no more.")
    return {"enumerated": uniform, "events": events, "densities": densities}
