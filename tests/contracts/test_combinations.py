"""Priors, posteriors and likelihoods that can meet, trained by their graph.

Three factors meet in each test. `make test-slow` runs as many as bring every two of them together
once: the likelihood sees no more of the others than z. `make verify` runs all the others.
"""

import functools
import itertools

import numpy as np
import pytest
import torch
from torch import nn

import ppvae
from ppvae import likelihoods, posteriors, priors
from ppvae.engine.compilation import replay
from ppvae.inference import training
from ppvae.networks import First
from tests.contracts.test_likelihoods import FAMILIES, OF_VECTORS, Family
from tests.contracts.test_posteriors import POSTERIORS
from tests.contracts.test_priors import PRIORS

FEATURES, LATENT, ROWS = 4, 3, 40
TABLE = [(2, likelihoods.Normal), (2, functools.partial(likelihoods.Categorical, levels=2))]
LIKELIHOODS = {
    **{name: family for name, family in FAMILIES.items() if name == family.name},
    "Normal": FAMILIES["Normal, scale from the network"],
    "Multinomial": Family("Multinomial", {}, 1, torch.arange(3.0), torch.tensor(-1.0)),
    "Columns": Family("Columns", {"groups": TABLE}, 2, torch.arange(2.0), torch.tensor(0.5)),
}
OF_CLASS = {name: entry for name, entry in POSTERIORS.items() if name in posteriors.__all__}


def prior_for(name, posterior):
    if name == "VampPrior":
        return priors.VampPrior(posterior, priors.PseudoInputs((FEATURES,), 4))
    return PRIORS[name].build(LATENT)


def pair_of(prior, likelihood, posterior):
    decoder = LIKELIHOODS[likelihood].build(FEATURES, LATENT, torch.float32)
    decoder.network = First(decoder.network)
    entry = OF_CLASS[posterior]
    linear = nn.Linear(FEATURES, entry.outputs_for(LATENT))
    nn.init.normal_(linear.weight, std=0.01)  # some data are far from unit scale
    encoder = entry.build(First(linear))
    return ppvae.VAE(prior_for(prior, encoder), decoder, encoder)


def meet(prior, posterior):
    """Tell whether they have one support; a VampPrior has that of its posterior."""
    return prior == "VampPrior" or (prior == "UniformSphere") == (posterior == "PowerSpherical")


PAIRS = list(itertools.product(PRIORS, OF_CLASS))
TRIPLES = [(*pair, name) for pair in PAIRS if meet(*pair) for name in LIKELIHOODS]


def twos(triple):
    """Return the three combinations of two of its factors."""
    return set(itertools.combinations(enumerate(triple), 2))


def covering(triples):
    """Choose triples greedily until each combination of two factors is in one of them."""
    missing, chosen = set().union(*map(twos, triples)), []
    while missing:
        chosen.append(max(triples, key=lambda triple: len(twos(triple) & missing)))
        missing -= twos(chosen[-1])
    return chosen


COVERING = covering(TRIPLES)


def test_every_two_factors_meet_in_the_chosen_combinations():
    counts = len(PRIORS) * len(LIKELIHOODS), len(OF_CLASS) * len(LIKELIHOODS)
    assert len(set().union(*map(twos, COVERING))) == sum(counts) + len(TRIPLES) // len(LIKELIHOODS)
    assert len(COVERING) < 1.1 * max(counts)  # as many as the largest of the three tables, almost


@pytest.mark.parametrize(
    ("prior", "posterior", "likelihood"),
    [
        pytest.param(*triple, marks=pytest.mark.slow if triple in COVERING else pytest.mark.verify)
        for triple in TRIPLES
    ],
)
def test_factors_that_can_meet_train_and_have_evidence(prior, posterior, likelihood, monkeypatch):
    monkeypatch.setattr(training, "generate", replay)
    torch.manual_seed(0)
    pair = pair_of(prior, likelihood, posterior)
    inside = LIKELIHOODS[likelihood].inside
    x = inside[torch.randint(len(inside), (ROWS, FEATURES))]
    batch = (x, *PRIORS[prior].given(ROWS))
    fit = ppvae.fit(pair, batch, steps=20, batch_size=20, compile_from=1)
    assert fit.compiled_from == 1, fit.compilation
    if LIKELIHOODS[likelihood].normalized:
        evidence = ppvae.diagnostics.evidence(pair, batch, draws=20)
        assert np.isfinite(evidence[["elbo", "kl", "log_evidence"]].to_dataarray()).all()
    else:
        with pytest.raises(ValueError, match="no density of the data"):
            ppvae.diagnostics.evidence(pair, batch, draws=20)


@pytest.mark.parametrize(("prior", "posterior"), [pair for pair in PAIRS if not meet(*pair)])
def test_factors_that_cannot_meet_say_so(prior, posterior):
    with pytest.raises(ValueError, match="VAE needs a prior and a posterior of one support"):
        pair_of(prior, "Bernoulli", posterior)


def test_no_factor_is_left_out():
    # Those of sequences meet in the DeepMarkovModel alone.
    assert PRIORS.keys() >= set(priors.__all__) - {"Prior", "PseudoInputs", "Markov"}
    assert OF_CLASS.keys() == set(posteriors.__all__) - {"Posterior", "Markov"}
    parts = {"FeatureSizes", "LearnedScale", "Likelihood", "ObservedSize", "SizeFactor"}
    parts |= {"UnitSize", "Units", "Masked", "EachStep"}
    assert LIKELIHOODS.keys() == set(likelihoods.__all__) - parts
    assert OF_VECTORS <= LIKELIHOODS.keys()
