"""Trainings from several starts, with what they reach."""

import pytest
import torch

import ppvae
from ppvae import data, diagnostics, pairs
from tests.inference.test_probabilistic_pca import CASES, fitted

pytestmark = pytest.mark.verify


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", CASES)
def test_probabilistic_pca_from_several_starts(name, seed):
    load, components, steps = CASES[name]
    maximum, pair, x = fitted(load(), components, steps, seed)
    summary = diagnostics.summarize(diagnostics.evidence(pair, x, draws=1000))
    gap = maximum - float(summary["mean"].sel(term="elbo"))
    print(f"\n{name}, seed {seed}: maximum likelihood minus ELBO {gap:.5f} nats per datapoint")
    assert -0.001 < gap < 0.01


def test_digits_from_several_starts():
    digits = data.digits()
    reached = []
    for seed in range(3):
        torch.manual_seed(seed)
        pair = pairs.assemble(digits)
        ppvae.fit(pair, digits, epochs=100, seed=seed)
        summary = diagnostics.summarize(diagnostics.evidence(pair, digits.test, draws=5000))
        terms = {term: float(summary["mean"].sel(term=term)) for term in summary.term.values}
        print(f"\nseed {seed}: " + ", ".join(f"{k} {v:.2f}" for k, v in terms.items()))
        reached.append(terms["elbo"])
    assert max(reached) - min(reached) < 5
    assert min(reached) > -110
