"""Posterior means of what all data share, of eight schools, against quadrature."""

import math
from types import SimpleNamespace

import pytest
import torch
from pyro.infer.autoguide import AutoNormal

import ppvae
from benchmarks.shared_latents import EFFECTS, ERRORS, exact_schools, schools
from ppvae import Unsupported, diagnostics
from ppvae.diagnostics.checks import together
from ppvae.diagnostics.findings import Verdict
from tests.diagnostics.marginal_likelihood.test_joint import X
from tests.diagnostics.marginal_likelihood.test_joint import pair as conjugate

BATCH = EFFECTS, ERRORS
LOG_EVIDENCE = -31.0367  # by quadrature over tau, of which 8000 points agree with 4000 to 1e-6
LOG_TAU, OF_LOG_TAU = 0.85, 0.66
FITTED = {  # what 1500 steps of 100 draws lead to
    "mu": (4.5, 3.18),
    "tau": (LOG_TAU, OF_LOG_TAU),
    "eta": (
        [0.30, 0.11, -0.09, 0.04, -0.17, -0.09, 0.35, 0.06],
        [0.96, 0.93, 0.97, 0.95, 0.93, 0.94, 0.93, 0.98],
    ),
}


@pytest.fixture
def fitted():
    """Eight schools and the best factorized normal of mu, log tau and eta."""
    guide = AutoNormal(schools)
    guide(*BATCH)
    for name, (loc, scale) in FITTED.items():
        getattr(guide.locs, name).data = torch.tensor(loc)
        setattr(guide.scales, name, torch.tensor(scale))
    return SimpleNamespace(model=schools, guide=guide)


def test_diagnose_names_the_latent_whose_mean_is_off_and_by_how_much(fitted):
    """Of 3 numbers one is beyond 5 errors by chance in 1 of 580,000 runs."""
    found = together(fitted, BATCH, 8, diagnostics.STANDARD, 0, False)[0]
    assert found.verdict is Verdict.LOOK
    assert "off the guide's" in found.answer and "'tau' +0.1" in found.answer
    assert "'mu'" not in found.answer
    assert found.remedy.call == "ppvae.refine(pair, data, together=True).means"
    terms = found.results["all_data"]
    assert abs(float(terms.log_evidence) - LOG_EVIDENCE) < 5 * float(terms.log_evidence_error)
    exact = exact_schools()
    of_guide = {"mu": FITTED["mu"][0], "tau": math.exp(LOG_TAU + OF_LOG_TAU**2 / 2)}
    for name, mean in of_guide.items():
        expected = float((exact[name][0] - mean) / exact[name][1])
        one = terms.sel(latent=name)
        assert abs(float(one.mean_shift) - expected) < 5 * float(one.mean_shift_error)
        assert float(one.mean_shift_error) < 0.04


def test_refined_means_are_the_posterior_s(fitted):
    """Of 10 numbers one is beyond 5 errors by chance in 1 of 170,000 runs."""
    refined = ppvae.refine(fitted, BATCH, together=True, draws=10_000)
    assert bool(refined.table.trusted.all())
    exact = exact_schools()
    theta = refined.draws["mu"][..., None] + refined.draws["tau"][..., None] * refined.draws["eta"]
    size = float(refined.table.effective_sample_size.squeeze())
    off = (theta[:, 0].double().mean(0) - exact["theta"][0]) / exact["theta"][1]
    assert float(off.abs().max()) < 5 / size**0.5
    for name in ("mu", "tau"):
        distance = (refined.means[name] - exact[name][0]).abs()
        assert bool((distance < 5 * refined.mean_errors[name]).all())


def test_the_posterior_itself_raises_no_alarm():
    found = together(conjugate(), X, 6, diagnostics.QUICK, 0, False)[0]
    assert found.verdict is Verdict.FINE and "farthest of the posterior means" in found.answer


@pytest.mark.verify
def test_the_posterior_itself_raises_an_alarm_in_few_runs():
    """The rate is at most .003, so that more than 4 of 200 are one in 3000 repetitions."""
    pair, effort = conjugate(), diagnostics.Effort(datapoints=6, draws=100)
    runs = [together(pair, X, 6, effort, seed, False)[0] for seed in range(200)]
    assert sum(found.verdict is not Verdict.FINE for found in runs) <= 4


def test_what_refine_cannot_take_together_is_refused(fitted):
    """The weights of the guide are heavy: their error is beyond 5 in less than 1 of 1000 runs."""
    several = SimpleNamespace(table=SimpleNamespace(sizes={"data": 8}))
    with pytest.raises(ValueError, match=r"posterior is of 8 datapoints.*together=True"):
        diagnostics.joint_evidence(fitted, BATCH, posterior=several)

    def of_one_dimension(effects, errors):
        drawn = fitted.guide(effects, errors)
        assert drawn["mu"].dim() == 0

    narrow = SimpleNamespace(model=schools, guide=of_one_dimension)
    with pytest.raises(Unsupported, match="does not run with a dimension left of its plates"):
        ppvae.refine(narrow, BATCH, together=True)
    found = together(narrow, BATCH, 8, diagnostics.Effort(8, draws=200), 0, False)[0]
    error = float(found.results["all_data"].log_evidence_error)
    assert abs(float(found.results["all_data"].log_evidence) - LOG_EVIDENCE) < 5 * error
