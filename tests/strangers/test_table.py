"""Programs that others wrote, in every exit; `python -m tests.strangers.table` prints them all."""

import warnings

import pytest

import ppvae
import ppvae.inference.training as training
from ppvae.engine.compilation import replay
from tests.strangers.table import COLUMNS, SEPARATOR, STRANGERS, Trained

# The sharpest few of each kind; the whole table is for a release.
FAST = (
    "ss_vae_m2_enumerated",
    "cvae",
    "factor_mue",
    "eight_schools",
    "gmm_normal",
    "cevae_sized",
    "jivae",
)
SLOW = (
    *FAST,
    "ss_vae_m2_labelled",
    "flow_planar",
    "dmm",
    "markov_states",
    "lda_dirichlet",
    "sparse_gamma_def",
    "toy_mixture",
    "baseball",
    "bayesian_regression",
)


def trained(name, steps=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Trained(STRANGERS[name], steps)


def rows(names, mark):
    return [pytest.param(n, marks=[] if n in names else [mark]) for n in STRANGERS]


@pytest.mark.parametrize("name", FAST)
def test_evidence_is_that_of_sums_and_integrals(name):
    COLUMNS["evidence"](STRANGERS[name], trained(name, steps=60))


@pytest.mark.slow
@pytest.mark.parametrize("name", rows(SLOW, pytest.mark.verify))
def test_every_exit_works_or_says_what_mathematics_lacks(name, monkeypatch):
    monkeypatch.setattr(training, "generate", replay)
    subject = trained(name)
    for column, run in COLUMNS.items():
        expected = STRANGERS[name].expected.get(column)
        if expected is None:
            run(STRANGERS[name], subject)
            continue
        with pytest.raises(ppvae.Unsupported) as refusal:
            run(STRANGERS[name], subject)
        for sentence in str(refusal.value).split(SEPARATOR):
            assert expected in sentence
