"""`python -m benchmarks.million_rows`: a table of a million rows by ten columns, from the file on.

Ours: `data.table` reads the file and finds its schema, `pairs.assemble` builds a pair and `fit`
trains it for one epoch. The least: pandas alone reads the file, and the same pair takes the same
steps in a loop by hand, with data that stand ready. Both take turns; the ratio of their medians
is to be below 2.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas
import pyro
import torch

import ppvae
from ppvae import data

BATCH = 128
BOUND = 2.0


def write(path, rows):
    """Write a table of five real columns, and one or two of each other kind."""
    random = np.random.default_rng(0)
    columns = {f"x{number}": random.normal(size=rows).round(4) for number in range(5)}
    columns["income"] = np.exp(random.normal(size=rows)).round(2) + 0.01
    columns["visits"] = random.negative_binomial(2, 0.2, rows)
    columns["share"] = random.beta(2, 2, rows).round(4).clip(1e-4, 1 - 1e-4)
    columns["smoker"] = random.choice(["yes", "no"], rows)
    columns["city"] = random.choice(["Bonn", "Köln", "Genève", "Łódź"], rows)
    pandas.DataFrame(columns).to_csv(path, index=False)


def assembled(dataset):
    torch.manual_seed(0)
    return ppvae.pairs.assemble(dataset)


def ours(path):
    """Return the seconds of reading, and those of the first epoch."""
    start = time.perf_counter()
    dataset = data.table(path)
    read = time.perf_counter()
    ppvae.fit(assembled(dataset), dataset, epochs=1, batch_size=BATCH, seed=0)
    return read - start, time.perf_counter() - read


def least(path, dataset, compiled):
    """Return the seconds of pandas, and those of as many steps."""
    pair = assembled(dataset)
    start = time.perf_counter()
    pandas.read_csv(path)
    read = time.perf_counter()
    train = dataset.train
    steps = -(-len(train) // BATCH)
    if compiled:
        ppvae.fit(pair, train, steps=steps, batch_size=BATCH, seed=0)
    else:
        with pyro.get_param_store().scope():
            by_hand(pair, train)
    return read - start, time.perf_counter() - read


def by_hand(pair, train):
    """Take the steps of one epoch with PyTorch's own optimizer."""
    optimizer = torch.optim.Adam(pair.parameters(), lr=1e-3, fused=True)
    loss = pyro.infer.Trace_ELBO().differentiable_loss
    for rows in torch.randperm(len(train)).split(BATCH):
        optimizer.zero_grad(set_to_none=True)
        (loss(pair.model, pair.guide, train[rows]) / len(rows)).backward()
        optimizer.step()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compiled", action="store_true", help="the least by `fit` of a tensor")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        write(path, chosen.rows)
        dataset = data.table(path)
        taken = {"ours": [], "least": []}
        for _ in range(chosen.rounds):
            taken["ours"].append(ours(path))
            taken["least"].append(least(path, dataset, chosen.compiled))
            print({name: rounds[-1] for name, rounds in taken.items()}, flush=True)
    medians = {
        name: [statistics.median(part) for part in zip(*rounds, strict=True)]
        + [statistics.median(map(sum, rounds))]
        for name, rounds in taken.items()
    }
    for name, (read, epoch, both) in medians.items():
        print(f"{name:6} read {read:6.2f} s, epoch {epoch:7.2f} s, both {both:7.2f} s")
    ratio = medians["ours"][2] / medians["least"][2]
    read = medians["ours"][0] / medians["least"][0]
    print(f"ratio {ratio:.2f} (at most {BOUND:g}), of reading alone {read:.2f}")


if __name__ == "__main__":
    main()
