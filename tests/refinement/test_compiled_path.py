"""Annealing by code and by threads against the pair's own Python."""

import threading

import numpy as np
import pytest
import torch

from ppvae import diagnostics
from ppvae.diagnostics.marginal_likelihood import annealed_groups
from ppvae.refinement import Stopped, compiled_path, in_threads
from tests import strangers
from tests.linear_gaussian import LinearGaussian

SETTINGS = {"temperatures": 12, "chains": 16, "leapfrogs": 3}


@pytest.fixture
def by_code(monkeypatch):
    """Let any annealing be worth a graph."""
    monkeypatch.setattr(annealed_groups, "_CAPTURED", 0.0)


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.mark.usefixtures("by_code", "two_threads")
@pytest.mark.parametrize("from_guide", [True, False], ids=["guide", "prior"])
def test_evidence_by_code_is_exact(from_guide, monkeypatch):
    monkeypatch.setattr(annealed_groups, "CACHED", 1)
    case = LinearGaussian.random(3)
    x = case.draw(7, seed=4)
    used = []
    agree = compiled_path._agree
    monkeypatch.setattr(compiled_path, "_agree", lambda *a: used.append(agree(*a)) or used[-1])
    found = diagnostics.ais(case.pair(), x, from_guide=from_guide, **SETTINGS)
    assert used and all(used)
    assert torch.get_num_threads() == 2
    exact = case.terms(x)["log_evidence"].numpy()
    assert (abs(found.log_evidence - exact) < 5 * found.log_evidence_error + 1e-4).all()
    assert diagnostics.ais(case.pair(), x, from_guide=from_guide, **SETTINGS).identical(found)


@pytest.mark.usefixtures("by_code")
def test_code_moves_chains_as_the_pair_does(monkeypatch):
    case = LinearGaussian.random(3)
    x = case.draw(4, seed=4)
    by_code = diagnostics.ais(case.pair(torch.float64), x, **SETTINGS)
    monkeypatch.setattr(annealed_groups, "_CAPTURED", 1e9)
    own = diagnostics.ais(case.pair(torch.float64), x, **SETTINGS)
    assert np.allclose(by_code.log_weight, own.log_weight, atol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("by_code")
@pytest.mark.parametrize("from_guide", [True, False], ids=["guide", "prior"])
def test_bounds_by_code_bracket_the_truth(from_guide):
    case = LinearGaussian.random(3)
    bounds = diagnostics.bdmc(
        case.pair(), case.draw(7, seed=1), simulations=40, from_guide=from_guide, **SETTINGS
    )
    assert bounds.sizes == {"simulation": 40}
    assert float(bounds.gap) > -4 * float(bounds.gap_error)


@pytest.mark.usefixtures("by_code")
def test_what_cannot_be_captured_runs_as_it_is(monkeypatch):
    class Reading(strangers.TopDown):
        """Python reads a value of the latent, so that a graph would not do the same."""

        def model(self, x):
            site = super().model(x)
            return site if float(x.sum()) > -1e9 else None

    pair, x = Reading(), torch.linspace(-1, 1, 4)
    refused = diagnostics.ais(pair, x, temperatures=5, chains=16, leapfrogs=1)
    monkeypatch.setattr(annealed_groups, "_CAPTURED", 1e9)
    assert diagnostics.ais(pair, x, temperatures=5, chains=16, leapfrogs=1).identical(refused)


def test_threads_give_results_in_order_and_stop_together():
    stop = threading.Event()
    assert list(in_threads(range(7), lambda n: n * n, 3, stop, apart=lambda n: n % 3 == 0)) == [
        n * n for n in range(7)
    ]
    waiting = threading.Event()

    def work(number):
        if number == 0:
            raise ZeroDivisionError
        waiting.wait(5)
        if stop.is_set():
            raise Stopped
        return number

    results = in_threads(range(4), work, 2, stop, apart=lambda n: False)
    threading.Timer(0.2, waiting.set).start()
    with pytest.raises(ZeroDivisionError):
        list(results)
    assert stop.is_set()
