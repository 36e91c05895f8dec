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


def test_a_notebook_shows_findings_and_the_next_step():
    found = Diagnosis(
        (finding("gaps", LOOK, 2.5), Finding("<i>units", Verdict.FINE, "measured", "advice")),
        {"other data": "use <outlier_score>"},
        None,
        (torch.zeros(3),),
        0,
    )
    html = found._repr_html_()
    assert "alarms: 1 of 2 findings, 0 bad" in html
    assert "next: do gaps (2.50 nats)" in html and ">call_gaps()<" in html
    assert "<i>" not in html and "other data: use &lt;outlier_score&gt;" in html
    assert html.count("advice") == 2  # the column, and that of the alarm
    assert "next: " not in diagnosis()._repr_html_() and repr(found) == str(found)
