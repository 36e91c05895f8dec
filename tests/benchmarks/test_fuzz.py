"""The fuzzer finds what may not be, and nothing in the library's readers."""

import random
import time

import pytest

from benchmarks.fuzz import outcomes
from benchmarks.fuzz.__main__ import check, fuzz
from benchmarks.fuzz.formats import FORMATS
from benchmarks.fuzz.mutations import mutated
from benchmarks.fuzz.outcomes import outcome

FEW = {"checkpoint.json": 30, "checkpoint.safetensors": 30, "png": 60, "jpeg": 60}


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_any_content_is_a_value_or_a_sentence(name, tmp_path):
    form = FORMATS[name]
    if form.missing:
        pytest.skip(f"needs {', '.join(form.missing)}")
    check(form, tmp_path)
    found = [one for _, _, one in fuzz(form, FEW.get(name, 150), tmp_path, seed=1)]
    assert [one.finding for one in found if one.finding] == []
    assert any(one.said for one in found), "no file was refused"


def test_what_may_not_be_is_found(tmp_path, monkeypatch):
    path = tmp_path / "x.bin"
    monkeypatch.setattr(outcomes, "SECONDS", 0.05)

    def fails(error):
        def read(path):
            raise error

        return outcome(read, path).finding

    assert outcome(lambda path: time.sleep(9), path).finding == "it takes more than 0.05 s"
    assert "no refusal: KeyError" in fails(KeyError("x"))
    assert "no refusal: ModuleNotFoundError" in fails(ModuleNotFoundError(f"{path}"))
    assert "names no file" in fails(ValueError("of something"))
    assert "no sentence" in fails(ValueError(f"{path}\nis damaged"))
    error = ValueError(f"{path} is damaged")
    error.__cause__ = MemoryError()
    assert "asks for more than 2 GiB" in fails(error)
    assert fails(ValueError(f"{path} is damaged")) == ""
    assert fails(FileNotFoundError(2, "No such file", str(path))) == ""


def test_changes_differ_and_repeat():
    def changed(seed):
        chance = random.Random(seed)
        return [mutated(b"12, 34 " * 9, chance, [b"\1" * 30]) for _ in range(100)]

    assert changed(0) == changed(0)
    assert len({*changed(0)}) > 80
