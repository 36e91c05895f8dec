"""`ppvae report` and `ppvae fit --report`."""

import json
import os
from pathlib import Path

import pytest
import sklearn.ensemble  # noqa: F401, the diagnostics import it late, and it adds warning filters

import ppvae
from ppvae.cli import main
from ppvae.cli.reporting import checked_output
from ppvae.reports.run_folder import _foreign

FIT = "fit segments --data.rows 80 --latent 2 --steps 3 --draws 30 --figures false".split()


@pytest.fixture
def here(tmp_path, monkeypatch):
    before = os.getcwd()
    monkeypatch.chdir(tmp_path)
    yield
    os.chdir(before)


@pytest.mark.parametrize(
    ("runs", "output", "message"),
    [
        (["a"], Path("page.pdf"), "--output page.pdf ends in '.pdf'; expected .html"),
        (["a"], Path("no/page.html"), "--output no/page.html: there is no folder no"),
        (["a", "a"], None, "report needs different runs, got a, a"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(runs, output, message):
    with pytest.raises(ValueError) as caught:
        checked_output(runs, output)
    assert str(caught.value) == message


@pytest.mark.slow
def test_a_page_of_a_run_and_of_several(here, capsys):
    assert main([*FIT, "--folder", "one", "--report"]) == 0
    shown = capsys.readouterr().out
    assert "log P(X) can be trusted for" in shown and shown.endswith("one/report.html\n")
    assert "Formula (2) is what was measured before" in Path("one/report.html").read_text()
    words = "diagnose one --level quick --draws 30 --figures false"
    assert main(words.split()) == 0
    kept = json.loads(Path("one/diagnosis-test.json").read_text())
    assert kept["findings"][0]["verdict"] in ("fine", "look", "bad", "?")
    assert main([*FIT, "--folder", "two", "--seed", "1"]) == 0
    path = ppvae.report("one", "two", draws=30, refine_seconds=0)
    text = path.read_text()
    assert path == Path("report.html") and "2 runs of segments, compared" in text
    assert "kept, of level quick" in text
    assert '<th scope="row">seed</th>' in text.replace("\n", "")
    assert not _foreign(Path("one"))  # so that the run may be overwritten
    assert main([*FIT, "--folder", "other", "--data.noise", "0.2"]) == 0
    capsys.readouterr()
    assert main(["report", "one", "other"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("ppvae: error: one and other are not compared: their train rows hold")
    assert said.count("\n") == 1
