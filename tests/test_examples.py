"""Every example runs, at a small size."""

import runpy
from pathlib import Path

import pytest

from examples.tutorial.__main__ import STEPS
from examples.tutorial.__main__ import main as tutorial

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("[!_]*.py"))
SMALL = {"fit_digits": (2, 20), "own_pair": (2, 20)}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path, capsys):
    runpy.run_path(str(path))["main"](*SMALL[path.stem])
    shown = capsys.readouterr().out
    assert "posterior_kl" in shown


def test_tutorial_runs(tmp_path, capsys):
    tutorial(str(tmp_path / "figures"), 0.01)
    shown, errors = capsys.readouterr()
    lines = [line for line in shown.splitlines() if not line.startswith("   drawn: ")]
    assert max(map(len, lines)) < 90
    assert [line.split(".")[0] for line in lines if line[:2].strip(" .").isdigit()] == [
        str(step) for step in STEPS
    ]
    assert errors == ""
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert len(drawn) == shown.count("   drawn: ") == 11
