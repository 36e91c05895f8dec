"""A table of your own: from rows with gaps to latents, anomalies, filled cells and new rows."""

import sys

import numpy as np
import pandas as pd
from sklearn.datasets import load_wine

import ppvae
from ppvae import answers, data, diagnostics
from ppvae.pairs import assemble


def wines() -> pd.DataFrame:
    """Return 178 wines with names, one column of text, and a fifth of their cells missing."""
    table = load_wine(as_frame=True).frame.rename(columns={"target": "cultivar"})
    table["cultivar"] = table.cultivar.map({0: "first", 1: "second", 2: "third"})
    random = np.random.default_rng(0)
    measured = table.columns[:-1]
    table[measured] = table[measured].mask(random.random((len(table), len(measured))) < 0.2)
    table["strength"] = np.where(table.alcohol > 13, "strong", "light")
    table.insert(0, "bottle", [f"bottle {number}" for number in range(len(table))])
    return table


def main(epochs: int = 200, draws: int = 1000) -> ppvae.VAE:
    """Train a pair on the wines, given their cultivar; print what it says of them; return it."""
    table = data.table(wines(), label="cultivar", id="bottle")
    print(table.schema.write())
    given = table.conditional()
    pair = assemble(given, latent=4)
    ppvae.fit(pair, given, epochs=epochs)

    evidence = diagnostics.evidence(pair, given, draws=draws)
    print(diagnostics.summarize(evidence).to_dataframe())

    print("Latents")
    print(answers.encode(pair, given, split="all").head())
    print("The least probable rows, and whether their log P(x) can be trusted")
    scores = answers.score(pair, given, split="all", draws=draws)
    print(scores.sort_values("rank").head(10).to_string(index=False))
    print("Missing cells")
    print(answers.impute(pair, given, draws=draws).cells.head())
    print("New rows of one cultivar")
    print(answers.sample(pair, given, 5, label="second").round(2).to_string(index=False))
    return pair


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
