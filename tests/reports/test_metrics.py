"""`metrics.jsonl`: one line an evaluation, whatever a killed process has left."""

import json
import math
import os
from types import SimpleNamespace

import pytest

from ppvae.reports import Metrics
from ppvae.reports.metrics import read_metrics


def training(steps, ended=False):
    records = [{"step": step, "elbo": -1 / (1 + step), "kl": math.nan} for step in steps]
    return SimpleNamespace(records=records, ended=ended)


def recorded(folder, first, last):
    """Record the evaluations of a training that goes on after some of them; return the lines."""
    metrics, one = Metrics(folder), training(range(first))
    for step in range(first, last):
        one.records.append(training([step]).records[0])
        metrics(one)
    one.ended = True
    metrics(one)
    return metrics.path.read_bytes().splitlines(keepends=True)


LEFT = {
    "nothing": lambda lines: [],
    "a line cut": lambda lines: [*lines[:4], lines[4][:9]],
    "a line without its end": lambda lines: [*lines[:4], lines[4][:-1]],
    "later steps": lambda lines: lines,
    "a line lost": lambda lines: lines[:2],
    "zeros": lambda lines: [*lines[:4], bytes(50)],
    "lines of another training": lambda lines: [lines[1], *lines[:4]],
}


@pytest.mark.parametrize("left", LEFT.values(), ids=LEFT.keys())
def test_a_training_goes_on_with_its_lines(left, tmp_path):
    whole = recorded(tmp_path, 0, 8)
    assert [json.loads(line)["step"] for line in whole] == list(range(8))
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"".join(left(whole)))
    assert recorded(tmp_path, 4, 8) == whole  # its checkpoint holds 4 evaluations
    assert list(read_metrics(tmp_path).step.values) == list(range(8))


def test_a_training_with_nothing_left_to_do_repairs_its_file(tmp_path):
    whole = recorded(tmp_path, 0, 3)
    (tmp_path / "metrics.jsonl").write_bytes(b"".join(whole)[:-5])
    assert recorded(tmp_path, 3, 3) == whole
    (tmp_path / "metrics.jsonl").unlink()
    Metrics(tmp_path)(training(range(3), ended=True))
    assert not [*tmp_path.iterdir()]  # it was never evaluated under this callback


def test_the_file_is_opened_once_and_each_line_is_there_at_once(tmp_path, monkeypatch):
    opened, metrics, one = [], Metrics(tmp_path), training([])
    open_file = os.open
    monkeypatch.setattr(os, "open", lambda *a: opened.append(a) or open_file(*a))
    for step in range(3):
        one.records += training([step]).records
        metrics(one)
        assert len(metrics.path.read_bytes().splitlines()) == step + 1
    assert len(opened) == 1
    descriptor = metrics._descriptor
    del metrics  # a training that failed does not end it
    with pytest.raises(OSError):
        os.fstat(descriptor)


def test_an_error_of_the_system_names_the_file(tmp_path, monkeypatch):
    def full(descriptor, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError) as error:
        Metrics(tmp_path)(training([1]))
    assert error.value.filename == str(tmp_path / "metrics.jsonl")
