"""How much `diagnose` is to compute."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """How much `diagnose` is to compute; what is 0 is not asked.

    Args:
        datapoints: how many datapoints to look at, drawn at random.
        draws: draws of the guide for each.
        samples: of the model, which a classifier is to tell from as many datapoints.
        labeled: training datapoints that labels and factors are learned from.
        simulations: datapoints simulated for calibration.
        searched: datapoints whose guide is optimized anew for the gaps.
        annealed: datapoints of annealed importance sampling, and of its bounds from both sides.
        temperatures: of annealed importance sampling.

    Example:
        >>> QUICK.simulations, STANDARD.simulations
        (0, 1000)
    """

    datapoints: int
    draws: int
    samples: int = 0
    labeled: int = 0
    simulations: int = 0
    searched: int = 0
    annealed: int = 0
    temperatures: int = 0


QUICK = Effort(datapoints=200, draws=500)
"""Seconds: formula (2), the tails of the weights, the latents in use."""

STANDARD = Effort(
    datapoints=500, draws=1000, samples=500, labeled=2000, simulations=1000, searched=100
)
"""About a minute for a small pair: samples, labels, calibration and gaps too."""

DEEP = Effort(
    datapoints=2000,
    draws=5000,
    samples=2000,
    labeled=10_000,
    simulations=5000,
    searched=500,
    annealed=50,
    temperatures=1000,
)
"""As long as it takes: annealed importance sampling, and bounds of log P(X) from both sides."""
