"""A run that is killed without warning, again and again, ends as if it never was."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.verify

OPTIONS = (
    "--epochs 60 --network.width 64 --patience 50 --draws 5 --figures false --checkpoint_seconds 0"
)
PROGRAM = Path(sys.executable).parent / "ppvae"


def start(words, folder):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with open(folder / "shown.txt", "a") as shown:
        return subprocess.Popen(
            [PROGRAM, "fit", *words], cwd=folder, stdout=shown, stderr=shown, env=environment
        )


def writing(run):
    return any(run.glob(".checkpoint*"))


def stopped_in_a_write(process, run):
    """Stop the process if it is writing; let it go on if that was the last moment of it."""
    if not writing(run):
        return False
    process.send_signal(signal.SIGSTOP)
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] not in "TZ":
        pass
    if not writing(run):
        process.send_signal(signal.SIGCONT)
    return writing(run)


def result(run):
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for record in metrics:
        del record["seconds"]
    evidence = json.loads((run / "evidence-test.json").read_text())
    return load_file(run / "pair.safetensors"), metrics, evidence


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert start(["digits", *OPTIONS.split(), "--folder", "run"], folder).wait() == 0
    return result(folder / "run")


@pytest.mark.parametrize("seed", range(2))
def test_killed_run_is_resumed_bit_for_bit(seed, whole, tmp_path):
    chance = random.Random(seed)
    run, words = tmp_path / "run", ["digits", *OPTIONS.split(), "--folder", "run"]
    for kill in range(5):
        process = start(words, tmp_path)
        while not (run / "config.yaml").exists() and process.poll() is None:
            time.sleep(0.01)
        if kill == 0:  # it comes while a checkpoint is being written
            while not stopped_in_a_write(process, run):
                assert process.poll() is None, "training ended before it was caught writing"
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert writing(run)
        else:
            # A resumed program needs some seconds before it trains, which counts as a moment too.
            time.sleep(chance.uniform(0.0, 6.0))
            process.send_signal(signal.SIGKILL)
        process.wait()
        words = ["--resume", "run"]
    assert start(words, tmp_path).wait() == 0, (tmp_path / "shown.txt").read_text()
    tensors, metrics, evidence = result(run)
    assert all(torch.equal(tensors[name], whole[0][name]) for name in whole[0])
    assert metrics == whole[1]
    assert evidence == whole[2]
    assert sorted(path.name for path in run.glob(".*")) == []
    assert "Traceback" not in (tmp_path / "shown.txt").read_text()
