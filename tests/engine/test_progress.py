"""Progress bars show where somebody watches: on a terminal and in a notebook."""

import io
import sys
import types
import warnings
from pathlib import Path

import pytest
import torch
import tqdm

import ppvae
from ppvae import diagnostics, pairs
from ppvae.data import split
from ppvae.engine import progress_bar


@pytest.fixture
def notebook(monkeypatch):
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))


def trained(progress=None):
    noise = split("noise", torch.randn(60, 3), torch.distributions.constraints.real)
    pair = pairs.assemble(noise, latent=1)
    result = ppvae.fit(pair, noise, steps=3, compile=False, progress=progress)
    return pair, noise, result


def test_a_notebook_without_widgets_shows_a_bar_of_text(notebook, capsys):
    pair, noise, _ = trained()
    shown = capsys.readouterr()
    assert "samples" in shown.out and shown.err == ""
    diagnostics.evidence(pair, noise.test, draws=3)  # its bar comes after three seconds
    trained(progress=False)
    assert capsys.readouterr().out == ""


def test_a_bar_of_a_diagnostic_comes_later(notebook, capsys):
    for delay, shown in ((3, False), (0, True)):
        with progress_bar(total=2, progress=None, delay=delay, unit=" datapoints") as bar:
            bar.update()
        assert ("datapoints" in capsys.readouterr().out) == shown


@pytest.mark.parametrize(("progress", "shown"), [(None, False), (True, True), (False, False)])
def test_elsewhere_a_bar_shows_on_a_terminal_or_if_asked_for(progress, shown, monkeypatch, capsys):
    for config in (None, {}):
        if config is not None:  # IPython's own terminal
            shell = types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(config={}))
            monkeypatch.setitem(sys.modules, "IPython", shell)
        with progress_bar(progress=progress, total=1, delay=0) as bar:
            bar.update()
        assert isinstance(bar, tqdm.tqdm)
        assert bool(capsys.readouterr().err) == shown


def test_a_file_gets_no_bar(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    trained()
    assert file.getvalue() == ""


CELLS = (
    "import ppvae\ndigits = ppvae.data.digits()\npair = ppvae.pairs.assemble(digits, latent=2)",
    "fit = ppvae.fit(pair, digits, steps=50, compile=False)",
    "fit",
)


@pytest.mark.verify  # a kernel begins in half a minute; the build of the site runs many
def test_a_true_notebook_shows_the_bar_and_the_table():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of its packages among themselves
        import nbclient
        import nbformat

        cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
        paper = nbformat.v4.new_notebook(cells=cells)
        here = {"metadata": {"path": str(Path(__file__).parents[2])}}
        nbclient.NotebookClient(paper, timeout=100, resources=here).execute()
    first, second, third = (cell.outputs for cell in paper.cells)
    assert first == []
    assert {(one.output_type, one.get("name")) for one in second} == {("stream", "stdout")}
    assert "samples" in "".join(one.text for one in second)
    assert [one.output_type for one in third] == ["execute_result"]
    assert "Fit: finished after 50 steps" in third[0].data["text/html"]
