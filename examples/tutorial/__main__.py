"""Run the tutorial: `python -m examples.tutorial [FOLDER [SIZE [STEP ...]]]`."""

import sys
from pathlib import Path

from examples.tutorial import (
    step01_hidden_factors,
    step02_evidence,
    step03_prior_draws,
    step04_decoder,
    step05_warped_normal,
    step06_posterior,
    step07_formula_two,
    step08_kl_of_normals,
    step09_gradients,
    step10_red_screen,
    step11_unused_latents,
)

STEPS = {
    1: step01_hidden_factors,
    2: step02_evidence,
    3: step03_prior_draws,
    4: step04_decoder,
    5: step05_warped_normal,
    6: step06_posterior,
    7: step07_formula_two,
    8: step08_kl_of_normals,
    9: step09_gradients,
    10: step10_red_screen,
    11: step11_unused_latents,
}


def main(folder: str = "tutorial-figures", size: float = 1.0, *steps: int) -> None:
    """Print the page and save its figures.

    Args:
        folder: where figures go.
        size: share of the full draws, rows and training steps; 0.1 for a quick look.
        steps: the numbers of the steps to run; all, unless given.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    for step in steps or STEPS:
        STEPS[step].show(Path(folder), size)


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(float, sys.argv[2:3]), *map(int, sys.argv[3:]))
