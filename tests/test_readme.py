"""Every block of the README and of the site runs: here, or when the site is built."""

import os
import re
import shlex
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from ppvae.cli import main
from ppvae.inference import training

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^(`{3,})(\S*).*?\n(.*?)^\1$", re.M | re.S)
MADE_BY_THE_BUILD = ("docs/_build/", "docs/reference/", "docs/tutorial/step")
SHORTENED = [5, pytest.param(1, marks=pytest.mark.verify)]  # trainings, that many times
SHOWN = {"text", "console", "yaml"}  # outputs, files, and commands that take hours


def read():
    """Return the blocks of each page, `(kind, content)`, by its path."""
    paths = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in paths}
    return {
        path: [(kind, content) for _, kind, content in BLOCK.findall(text)]
        for path, text in texts.items()
        if not path.startswith(MADE_BY_THE_BUILD)
    }


PAGES = read()


def blocks(page, language):
    return [content for kind, content in PAGES[page] if kind == language]


def pages_with(language):
    return [page for page in PAGES if blocks(page, language)]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    path, here = list(sys.path), os.getcwd()
    monkeypatch.chdir(tmp_path)
    yield
    sys.path[:] = path
    os.chdir(here)


@pytest.mark.parametrize("page", PAGES)
def test_blocks_are_of_known_kinds(page):
    kinds = {kind for kind, _ in PAGES[page]}
    assert {kind for kind in kinds if not kind.startswith("{")} <= SHOWN | {"python", "sh"}
    executed = (ROOT / page).read_text().startswith("---\nfile_format: mystnb\n")
    assert not ("python" in kinds and executed)
    assert ("{code-cell}" in kinds) == executed


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with("python"))
@pytest.mark.parametrize("shortened", SHORTENED, ids=["shortened", "as written"])
def test_python_blocks_run_one_after_the_other(page, shortened, monkeypatch):
    length = training._length

    def shorter(epochs, steps):
        if epochs is None and steps is None:
            return 100 // shortened, None
        return length(epochs, steps)

    monkeypatch.setattr(training, "_length", shorter)
    names, trained = {"__name__": "page"}, {}
    for content in blocks(page, "python"):
        exec(compile(content, page, "exec"), names)
        for name, value in names.items():
            if isinstance(value, torch.nn.Module) and name not in trained:
                trained[name] = deepcopy(value.state_dict())
    if page != "README.md":
        return
    assert Path("digits-vae/pair.safetensors").exists()
    # What one block has trained, no later one changes.
    assert len(trained) >= 2
    for name, state in trained.items():
        assert all(
            torch.equal(state[key], value) for key, value in names[name].state_dict().items()
        )
    lowest = {1: -97, 5: -120}[shortened]  # -92.5 as written, -113 after a fifth of the epochs
    assert lowest < float(names["evidence"].elbo.mean()) < -90
    # 15 lines train and diagnose.
    lines = [line for line in blocks(page, "python")[0].splitlines() if line.strip()]
    assert len(lines) <= 15


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with("sh"))
@pytest.mark.parametrize("shortened", SHORTENED, ids=["shortened", "as written"])
def test_shell_blocks_run(page, shortened, capsys):
    makefile = (ROOT / "Makefile").read_text()
    commands = [line for content in blocks(page, "sh") for line in content.splitlines()]
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


def test_there_are_blocks_of_each_kind():
    assert len(pages_with("python")) > 1
    commands = "".join(content for page in PAGES for content in blocks(page, "sh"))
    assert commands.count("ppvae fit") > 3 and "ppvae diagnose" in commands


def test_links_of_the_readme_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target


def test_every_dependency_has_its_reason():
    project = (ROOT / "pyproject.toml").read_text()
    listed = re.search(r"^dependencies = \[(.*?)^\]", project, re.M | re.S)[1]
    table = (ROOT / "docs/design.md").read_text().split("## Dependencies")[1]
    for name in re.findall(r'"([a-z][a-z0-9-]*)', listed):
        assert re.search(rf"\b{name}\b", table), name
