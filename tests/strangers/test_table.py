"""Programs that others wrote, in every exit; `python -m tests.strangers.table` prints them all."""

import warnings

import arviz  # noqa: F401, imported late it would change the warning filters
import pytest
import torch._dynamo  # noqa: F401, likewise

import ppvae
import ppvae.inference.training as training
from ppvae import diagnostics
from ppvae.engine.compilation import replay
from tests.strangers.table import COLUMNS, SEPARATOR, STRANGERS, Trained

# The sharpest few; the whole table is for a release.
FAST = ("cvae", "factor_mue", "eight_schools", "cevae_sized", "jivae")
SLOW = (
    "ss_vae_m2_labelled",
    "cvae",
    "flow_planar",
    "factor_mue",
    "lda",
    "toy_mixture",
    "eight_schools",
    "baseball",
    "bayesian_regression",
    "cevae_sized",
)


def trained(name, steps=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Trained(STRANGERS[name], steps)


def rows(names, mark):
    return [pytest.param(n, marks=[] if n in names else [mark]) for n in STRANGERS]


@pytest.mark.parametrize("name", FAST)
def test_evidence_is_that_of_sums_and_integrals(name):
    COLUMNS["evidence"](STRANGERS[name], trained(name, steps=40))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:not compiled")
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
            assert any(fragment in sentence for fragment in expected), sentence


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n, stranger in STRANGERS.items() if stranger.joint])
def test_evidence_of_all_data_together_is_that_of_integrals(name):
    subject = trained(name, steps=400)
    found = diagnostics.joint_evidence(subject.pair, subject.batch, draws=1000, progress=False)
    exact = STRANGERS[name].joint(subject.pair, subject.batch)
    distance = float(found.log_evidence) - exact
    assert distance < 4 * float(found.log_evidence_error)
    assert float(found.elbo) - 4 * float(found.elbo_error) < exact
    if float(found.pareto_k) < found.attrs["threshold"]:
        assert distance > -4 * float(found.log_evidence_error)
    else:
        assert name == "eight_schools"  # a mean-field guide is narrow where tau is small
