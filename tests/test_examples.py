"""Every example runs, at a small size."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
SMALL = {"fit_digits": (2, 20), "own_pair": (2, 20)}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path, capsys):
    runpy.run_path(str(path))["main"](*SMALL[path.stem])
    shown = capsys.readouterr().out
    assert "posterior_kl" in shown
