"""A hundred kills at random moments, many of them inside the write of a checkpoint."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.verify
def test_trainings_that_are_killed_end_as_if_they_never_were():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kills"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
