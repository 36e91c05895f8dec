"""Commands on rows that stay on disk."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ppvae.cli import main
from ppvae.cli.choices import reader_of
from ppvae.data import RowsOnDisk

PLAIN = ["--compile", "false", "--figures", "false", "--refine_seconds", "0"]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    here = os.getcwd()
    monkeypatch.chdir(tmp_path)
    yield
    os.chdir(here)


def folder(name="shards"):
    random = np.random.default_rng(0)
    Path(name).mkdir()
    for number in range(3):
        np.save(f"{name}/{number}.npy", random.normal(size=(60, 3)).astype(np.float32))
    return name


def test_a_folder_of_arrays_and_a_large_array_stay_on_disk():
    assert reader_of(folder()) == ("ppvae.data.on_disk", {"path": "shards"})
    np.save("small.npy", np.ones((9, 2)))
    assert reader_of("small.npy") == ("ppvae.data.array", {"path": "small.npy"})
    np.lib.format.open_memmap("large.npy", "w+", np.uint8, (2**30 + 1, 2)).flush()  # a hole
    assert reader_of("large.npy") == ("ppvae.data.on_disk", {"path": "large.npy"})
    Path("pictures").mkdir()
    for name in ("a.png", "means.npy"):
        Path("pictures", name).touch()
    assert reader_of("pictures") == ("ppvae.data.images", {"folder": "pictures"})


@pytest.mark.verify
def test_a_run_on_a_folder_is_trained_measured_and_resumed(monkeypatch, capsys):
    words = ["--data.buffer", "1000", "--data.block", "5", "--data.test", "2.npy"]
    assert main(["fit", folder(), *words, "--steps", "4", "--draws", "30", *PLAIN]) == 0
    run = "runs/shards-1"
    assert "60 test rows of 3 features" in capsys.readouterr().out
    assert main(["fit", "--resume", run, "--steps", "6"]) == 0
    assert json.loads(Path(run, "metrics.jsonl").read_text().splitlines()[-1])["step"] == 6
    capsys.readouterr()
    with monkeypatch.context() as patched:
        patched.setattr(RowsOnDisk, "dense", None)
        assert main(["score", run, "--draws", "30"]) == 0
        assert main(["encode", run, "--split", "all"]) == 0
    scores = pd.read_csv(Path(run, "scores-test.csv"))
    assert scores.row.tolist() == [*range(120, 180)]
    latents = pd.read_csv(Path(run, "latents-all.csv"))
    assert latents.row.tolist() == [*range(180)]
    assert main(["sample", run, "-n", "5"]) == 0
    assert main(["diagnose", run, "--figures", "false"]) == 0
    Path("shards/1.npy").write_bytes(Path("shards/1.npy").read_bytes()[:-4])
    assert main(["diagnose", run]) == 2
    assert "1.npy cannot be read" in capsys.readouterr().err
