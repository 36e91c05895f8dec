"""`python -m benchmarks.units`: one table in two units is one model.

The table is trained on in metres and in kilometres, by the same seed. log P(X) of a row has to
differ by log 1000 for each cell that was divided by 1000 and is known, up to rounding.
"""

import argparse
import math

import numpy as np
import torch

import ppvae
from ppvae import data, diagnostics

FACTOR = 1000.0
LENGTHS = ("height", "depth", "distance")
BOUND = 1e-4
"""Nats by which log P(X) of a row may be off."""


def table(rows=200, seed=0):
    """Return real, positive and other columns, some cells of them missing, in metres."""
    random = np.random.default_rng(seed)
    hidden = random.normal(size=rows)
    real = 1700 + 100 * hidden + random.normal(0, 50, rows)
    return {
        "height": np.where(random.uniform(size=rows) < 0.1, np.nan, real),
        "depth": -3e4 + 1e4 * random.normal(size=rows) - 5e3 * hidden,
        "distance": np.exp(5 + hidden + random.normal(size=rows)),
        "visits": random.negative_binomial(2, 0.2, rows),
        "kind": random.choice(["a", "b", "c"], rows),
    }


def rescaled(columns, factor=FACTOR):
    """Return the table in units that are larger by a factor."""
    return {n: c / factor if n in LENGTHS else c for n, c in columns.items()}


def scores(columns, *, double, steps, seed=0):
    """Return log P of each training row after so many steps, and how many cells were divided."""
    dataset = data.table(columns, seed=seed)
    torch.manual_seed(seed)
    pair = ppvae.pairs.assemble(dataset, latent=2)
    batch = dataset.batch("train")
    if double:
        pair, batch = pair.double(), tuple(part.double() for part in batch)
    if steps:
        options = {"batch_size": 64, "seed": seed, "compile": False, "progress": False}
        ppvae.fit(pair, batch, steps=steps, **options)
    found = diagnostics.evidence(pair, batch, draws=50, seed=seed, compile=False)
    lengths = [dataset.columns.index(name) for name in LENGTHS]
    cells = dataset.batch("train")[-1][:, lengths].sum(1).numpy()
    return found.log_evidence.values.astype(np.float64), cells


def largest_error(*, double, steps, seed=0):
    """Return by how many nats log P(X) of a row is off at most."""
    here, cells = scores(table(seed=seed), double=double, steps=steps)
    there, _ = scores(rescaled(table(seed=seed)), double=double, steps=steps)
    return float(np.abs(there - here - cells * math.log(FACTOR)).max())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, nargs="*", default=[0, 10, 200])
    for steps in parser.parse_args().steps:
        for double in (True, False):
            kind = "double" if double else "single"
            error = largest_error(double=double, steps=steps)
            print(f"{steps:5} steps, {kind} precision: {error:.1e} nats at most", flush=True)


if __name__ == "__main__":
    main()
