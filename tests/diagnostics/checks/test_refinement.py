"""What diagnose says of refined posteriors."""

import pytest
import torch

from ppvae.diagnostics import Effort, Verdict, diagnose
from tests.correlated_gaussian import CorrelatedGaussian
from tests.exact_pairs import LinearGaussian


def found(pair, x, **numbers):
    findings = diagnose(pair, x, effort=Effort(30, 300, **numbers)).findings
    return {finding.name: finding for finding in findings}


def test_an_exact_guide_gains_nothing():
    pair = LinearGaussian(2, 5)
    refinement = found(pair, pair.simulate(30, 0), refined=20)["refined posteriors"]
    assert refinement.verdict is Verdict.FINE
    assert refinement.answer.startswith("20 of 20 datapoints can be trusted, 20 by the guide's")
    assert refinement.answer.endswith(", as by the guide's draws")


@pytest.mark.slow
def test_what_refinement_changes_is_said_and_the_gaps_take_it():
    pair = CorrelatedGaussian(diagonal=True, scale=0.3)
    x = torch.randn(30, pair.latents, generator=torch.Generator().manual_seed(0))
    findings = found(pair, x, refined=20, searched=5)
    refinement = findings["refined posteriors"]
    table = refinement.results["refinement"]
    assert refinement.answer.startswith("20 of 20 datapoints can be trusted, ")
    assert float(table.log_evidence.mean()) > float(
        findings["guide, KL[Q||P(z|X)]"].results["evidence"].log_evidence[:20].mean()
    )
    gaps = findings["gaps"]
    assert "by refined posteriors, log P(X) of these 5 datapoints" in gaps.answer
    assert (gaps.results["gaps"].log_evidence == table.log_evidence[:5]).all()
