"""Every block of the README runs."""

import os
import re
import shlex
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from ppvae.cli import main

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)


def blocks(language):
    return [content for kind, content in BLOCKS if kind == language]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    path, here = list(sys.path), os.getcwd()
    monkeypatch.chdir(tmp_path)
    yield
    sys.path[:] = path
    os.chdir(here)


def test_there_are_blocks_of_known_kinds():
    assert {kind for kind, _ in BLOCKS} == {"python", "sh"}
    assert len(blocks("python")) == 17


@pytest.mark.slow
def test_python_blocks_run_one_after_the_other():
    names, trained = {"__name__": "readme"}, {}
    for content in blocks("python"):
        exec(compile(content, "README.md", "exec"), names)
        for name in ("pair", "thermometer"):
            if name in names and name not in trained:
                trained[name] = deepcopy(names[name].state_dict())
    assert Path("digits-vae/pair.safetensors").exists()
    # What one block has trained, no later one changes.
    for name, state in trained.items():
        assert all(
            torch.equal(state[key], value) for key, value in names[name].state_dict().items()
        )
    measured = names["evidence"]
    assert -110 < float(measured.elbo.mean()) < -95
    found = names["found"].findings[0].results["evidence"]
    rows = {int(row): place for place, row in enumerate(names["digits"].row_numbers("test"))}
    same = [rows[int(row)] for row in found.data]
    difference = found.elbo.values - measured.elbo.values[same]
    assert abs(difference.mean()) < 0.5
    # 15 lines train and diagnose.
    lines = [line for line in blocks("python")[0].splitlines() if line.strip()]
    assert len(lines) <= 16


@pytest.mark.slow
@pytest.mark.parametrize(
    "shortened", [5, pytest.param(1, marks=pytest.mark.verify)], ids=["shortened", "as written"]
)
def test_shell_blocks_run(shortened, capsys):
    makefile = (ROOT / "Makefile").read_text()
    commands = [line for content in blocks("sh") for line in content.splitlines()]
    assert any(command.startswith("ppvae") for command in commands)
    drawn = set()
    for command in commands:
        command = re.sub(
            r"(?<=--epochs )\d+", lambda epochs: str(int(epochs[0]) // shortened), command
        )
        program, *words = shlex.split(command)
        if program == "make":  # this test is part of one of them
            assert re.search(rf"^{words[0]}:", makefile, re.M)
        elif program == "pip":
            assert words[0] == "install"
        else:
            assert program == "ppvae"
            if words[0] in drawn and words[0] != "sample":  # figures take most of the time
                words += ["--figures", "false"]
                words += ["--refine_seconds", "0"] * (words[0] == "fit")
            drawn.add(words[0])
            assert main(words) == 0, command


def test_every_dependency_has_its_reason():
    project = (ROOT / "pyproject.toml").read_text()
    listed = re.search(r"^dependencies = \[(.*?)^\]", project, re.M | re.S)[1]
    table = (ROOT / "README.md").read_text().split("## Dependencies")[1]
    for name in re.findall(r'"([a-z][a-z0-9-]*)', listed):
        assert re.search(rf"\b{name}\b", table), name
