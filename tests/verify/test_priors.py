"""Learned priors against the standard normal on binary MNIST, by `examples/variants.py`.

Needs MNIST's four IDX files, in the folder that the environment variable PPVAE_MNIST names.
"""

import os
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from ppvae import data, diagnostics

FOLDER = os.environ.get("PPVAE_MNIST")
SCRIPT = Path(__file__).parents[2] / "examples" / "variants.py"
SEEDS, PASSES, IMAGES, DRAWS = range(3), 10, 1000, 1000

pytestmark = [
    pytest.mark.verify,
    pytest.mark.skipif(FOLDER is None, reason="PPVAE_MNIST names no folder of MNIST's files"),
]


def log_evidence(script, digits, prior, seed):
    torch.manual_seed(seed)
    pair = script["build"](prior, "DiagonalNormal", digits.train)
    script["train"](pair, digits, PASSES, seed)
    evidence = diagnostics.evidence(pair, digits.test[:IMAGES], draws=DRAWS)
    values = evidence.log_evidence.values
    units = diagnostics.active_units(pair, digits.test[:IMAGES]).count
    print(f"\nseed {seed}, {prior}: log P(X) {values.mean():.3f}, {units} active units", end="")
    return values


def test_learned_priors_beat_the_standard_normal():
    """After as many passes over the same images, for each seed and each held-out image."""
    script, digits = runpy.run_path(str(SCRIPT)), data.mnist(FOLDER)
    gains = {prior: [] for prior in script["PRIORS"] if prior != "StandardNormal"}
    for seed in SEEDS:
        standard = log_evidence(script, digits, "StandardNormal", seed)
        for prior, found in gains.items():
            found.append(log_evidence(script, digits, prior, seed) - standard)
            error = found[-1].std(ddof=1) / np.sqrt(IMAGES)
            print(f": {found[-1].mean():.3f} +- {error:.3f} more", end="", flush=True)
    print()
    for prior, found in gains.items():
        by_seed = np.array([difference.mean() for difference in found])
        errors = np.array([difference.std(ddof=1) / np.sqrt(IMAGES) for difference in found])
        print(
            f"{prior}: {by_seed.mean():.3f} nats more, standard error over seeds "
            f"{by_seed.std(ddof=1) / np.sqrt(len(by_seed)):.3f}, over images {errors.mean():.3f}"
        )
        assert (by_seed > 3 * errors).all()
