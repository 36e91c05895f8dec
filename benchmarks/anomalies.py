"""How many of 10 planted anomalies are among the first 10 rows, beside scikit-learn's forest.

Run: `python -m benchmarks.anomalies [SEEDS]`. Among 300 rows of a real table (or all, if it has
fewer) 10 are planted: each value of another row ("permuted"), or uniform, a tenth beyond the range
of its column ("uniform"). Both methods see all rows, without labels.
"""

import logging
import sys

import numpy as np
import pandas
from sklearn import datasets
from sklearn.ensemble import IsolationForest

import ppvae
from ppvae import answers, data, pairs
from ppvae.engine import seeded

TABLES = ("breast_cancer", "wine", "diabetes")
KINDS = ("permuted", "uniform")
ROWS, PLANTED = 300, 10


def planted(name, kind, seed):
    """Return a table with anomalies, and which rows they are."""
    generator = np.random.default_rng(seed)
    whole = getattr(datasets, f"load_{name}")(as_frame=True).data
    values = whole.to_numpy(float)
    values = values[generator.permutation(len(values))[:ROWS]]
    if kind == "permuted":
        columns = [generator.choice(column, PLANTED, replace=False) for column in values.T]
        odd = np.stack(columns, axis=1)
    else:
        low, high = values.min(0), values.max(0)
        beyond = 0.1 * (high - low)
        odd = generator.uniform(low - beyond, high + beyond, (PLANTED, values.shape[1]))
    order = generator.permutation(len(values) + PLANTED)
    table = pandas.DataFrame(np.concatenate([values, odd])[order], columns=whole.columns)
    return table, order >= len(values)


def found(scores, odd):
    """Return how many anomalies are among the rows of the lowest scores."""
    return int(odd[np.argsort(scores, kind="stable")[:PLANTED]].sum())


def measured(name, kind, seed):
    """Return how many the pair finds, how many the forest, and the share of trusted rows."""
    table, odd = planted(name, kind, seed)
    forest = IsolationForest(random_state=seed).fit(table).score_samples(table)
    dataset = data.table(table, seed=seed)
    with seeded(seed):
        pair = pairs.assemble(dataset)
    ppvae.fit(pair, dataset, seed=seed)
    scores = answers.score(pair, dataset, split="all", draws=500, seed=seed)
    return found(scores["rank"], odd), found(forest, odd), scores.trusted.mean()


def main(seeds=5):
    logging.disable(logging.WARNING)
    print(f"{'table':15} {'anomalies':10} {'found':>7} {'forest':>7} {'trusted':>8}  by seed")
    for name in TABLES:
        for kind in KINDS:
            rows = np.array([measured(name, kind, seed) for seed in range(seeds)])
            ours, forest, trusted = rows.mean(0)
            by_seed = " ".join(f"{int(a)}/{int(b)}" for a, b, _ in rows)
            print(
                f"{name:15} {kind:10} {ours:7.1f} {forest:7.1f} {trusted:8.0%}  {by_seed}",
                flush=True,
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
