"""The verdict on the whole: what counts as an alarm, and the one action that is named."""

import math

import pytest
import torch

from ppvae.diagnostics import Diagnosis, Finding, Remedy, Verdict


def finding(name, verdict, nats=None, cause=""):
    remedy = Remedy(f"do {name}", f"call_{name}()", f"ppvae {name} {{run}}", nats, cause)
    return Finding(name, verdict, "measured", "advice", remedy=remedy)


def diagnosis(*findings):
    return Diagnosis(findings, {}, None, (torch.zeros(3),), 0)


LOOK, BAD = Verdict.LOOK, Verdict.BAD


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([], None),
        ([("fine", Verdict.FINE, 9), ("unknown", Verdict.UNKNOWN, 9)], None),
        ([("small", BAD, 1), ("large", LOOK, 2)], "large"),
        ([("unmeasured", BAD), ("measured", LOOK, 0.1)], "measured"),
        ([("look", LOOK), ("bad", BAD)], "bad"),
        ([("many", LOOK, 50), ("no latents", BAD, math.inf)], "no latents"),
        ([("guide", BAD, 8, "gaps"), ("gaps", LOOK, 5)], "gaps"),
        ([("guide", BAD, 8, "gaps"), ("gaps", Verdict.FINE, 5)], "guide"),
        ([("guide", BAD, 8, "gaps"), ("gaps", LOOK, 5), ("likelihood", LOOK, 6)], "likelihood"),
    ],
)
def test_the_action_with_the_most_nats_is_next(findings, expected):
    found = diagnosis(*(finding(*given) for given in findings))
    remedy = found.next_step
    assert (remedy and remedy.reason) == (expected and f"do {expected}")
    last = str(found).splitlines()[-1]
    assert last == f"call_{expected}()" if expected else last.startswith("alarms: none;")


def test_a_run_is_told_commands_and_its_folder_is_quoted():
    found = diagnosis(finding("gaps", LOOK, 2.5), finding("weights", BAD))
    lines = found.shown("my runs/digits-1").splitlines()
    assert lines[-2:] == ["next: do gaps (2.50 nats)", "ppvae gaps 'my runs/digits-1'"]
    assert lines[-3].startswith("alarms: 2 of 2 findings, 1 bad; an exact pair gets no alarm in")
    assert [finding.name for finding in found.alarms] == ["gaps", "weights"]
    assert "      ppvae weights 'my runs/digits-1'" in lines
    assert "      call_gaps()" in str(found).splitlines()
