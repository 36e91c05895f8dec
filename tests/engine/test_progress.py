"""Progress bars show where somebody watches: on a terminal and in a notebook."""

import io
import sys
import types

import pytest
import torch
import tqdm

import ppvae
from ppvae import diagnostics, pairs
from ppvae.data import split
from ppvae.engine import bar_class, bar_options


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
    assert bar_class(None) is tqdm.tqdm
    pair, noise, _ = trained()
    shown = capsys.readouterr()
    assert "samples" in shown.out and "loss=" in shown.out and shown.err == ""
    diagnostics.evidence(pair, noise.test, draws=3)  # its bar comes after three seconds
    trained(progress=False)
    assert capsys.readouterr().out == ""


def test_a_notebook_with_widgets_shows_their_bar(notebook, monkeypatch):
    from tqdm import notebook as own

    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert bar_class(None) is tqdm.tqdm  # the package is there, and does not work
    monkeypatch.setattr(own, "IProgress", object)
    assert bar_class(None) is own.tqdm and bar_class(False) is tqdm.tqdm


@pytest.mark.parametrize(("progress", "disable"), [(None, None), (True, False), (False, True)])
def test_elsewhere_a_bar_shows_on_a_terminal_or_if_asked_for(progress, disable, monkeypatch):
    assert bar_options(progress) == {"disable": disable}
    assert bar_class(progress) is tqdm.tqdm
    terminal = types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(config={}))
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    assert bar_options(progress) == {"disable": disable}


def test_a_file_gets_no_bar(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    trained()
    assert file.getvalue() == ""
