"""How much `diagnose` computes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """How much `diagnose` computes; 0 leaves a check out.

    Args:
        datapoints: number of datapoints to check, chosen at random.
        draws: number of draws of the guide for each.
        samples: number of samples of the model, tested against as many datapoints.
        labeled: number of training datapoints from which labels and factors are learned.
        simulations: number of datapoints simulated for calibration.
        refined: number of datapoints whose posterior is refined.
        searched: number of datapoints whose posterior is optimized for the gaps.
        annealed: number of datapoints for annealed importance sampling and for its bounds from
            both sides.
        temperatures: number of temperatures of annealed importance sampling.

    Example:
        >>> QUICK.simulations, STANDARD.simulations
        (0, 1000)
    """

    datapoints: int
    draws: int
    samples: int = 0
    labeled: int = 0
    simulations: int = 0
    refined: int = 0
    searched: int = 0
    annealed: int = 0
    temperatures: int = 0


QUICK = Effort(datapoints=200, draws=500)
"""Takes seconds: formula (2), the tails of the weights, the latents in use."""

STANDARD = Effort(
    datapoints=500,
    draws=1000,
    samples=500,
    labeled=2000,
    simulations=1000,
    refined=100,
    searched=100,
)
"""Takes about a minute for a small pair: also samples, labels, calibration, refined posteriors and
gaps."""

DEEP = Effort(
    datapoints=2000,
    draws=5000,
    samples=2000,
    labeled=10_000,
    simulations=5000,
    refined=500,
    searched=500,
    annealed=50,
    temperatures=1000,
)
"""Takes long: also annealed importance sampling, and bounds of log P(X) from both sides."""
