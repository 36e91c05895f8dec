"""Annealing by code and by threads against the pair's own Python."""

import threading

import pytest
import torch

from ppvae import diagnostics
from ppvae.diagnostics.marginal_likelihood import annealed_groups
from ppvae.engine import structure_of
from ppvae.engine.compilation import replay
from ppvae.refinement import (
    Annealing,
    Chains,
    GuideStart,
    PathCode,
    PriorStart,
    Stopped,
    annealed_chains,
    compiled_path,
    in_threads,
)
from tests import strangers
from tests.linear_gaussian import LinearGaussian

SETTINGS = {"temperatures": 12, "chains": 16, "leapfrogs": 2}


@pytest.fixture
def by_code(monkeypatch):
    """Let any annealing be worth a graph."""
    monkeypatch.setattr(annealed_groups, "_CAPTURED", 0.0)


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.mark.slow
@pytest.mark.usefixtures("by_code", "two_threads")
@pytest.mark.parametrize(
    "from_guide", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["guide", "prior"]
)
def test_evidence_by_code_is_exact(from_guide, monkeypatch):
    monkeypatch.setattr(annealed_groups, "CACHED", 1)
    case = LinearGaussian.random(3)
    x = case.draw(2, seed=4)
    monkeypatch.setattr(annealed_chains, "_FEWEST", 10)
    used = []
    agree = compiled_path._agree
    monkeypatch.setattr(compiled_path, "_agree", lambda *a: used.append(agree(*a)) or used[-1])
    found = diagnostics.ais(case.pair(), x, from_guide=from_guide, **SETTINGS)
    assert used and all(used)
    assert torch.get_num_threads() == 2
    exact = case.terms(x)["log_evidence"].numpy()
    assert (abs(found.log_evidence - exact) < 5 * found.log_evidence_error + 1e-4).all()
    if not from_guide:
        again = diagnostics.ais(case.pair(), x, from_guide=from_guide, **SETTINGS)
        assert again.identical(found)


@pytest.mark.parametrize(
    ("start", "vectorized"),
    [
        pytest.param(GuideStart(), True, id="guide, plate"),
        pytest.param(PriorStart(), False, id="prior, copies"),
        pytest.param(GuideStart(), False, id="guide, copies", marks=pytest.mark.slow),
        pytest.param(PriorStart(), True, id="prior, plate", marks=pytest.mark.slow),
    ],
)
def test_code_is_the_path_at_other_points_and_data(start, vectorized):
    case = LinearGaussian.random(3)
    pair, code = case.pair(torch.float64), PathCode(replay)
    annealing = Annealing(start, 10, 4, 2)
    for seed in (1, 2):  # the second has other data, and the code of the first
        batch = (case.draw(3, seed=seed),)
        structure = structure_of(pair, batch)
        chains = Chains(annealing, pair, batch, structure, vectorized, {}, lambda: None)
        path = chains.path(4)
        compiled = code.compiled(path, path.draw())
        assert compiled is not None
        point = path.draw()
        here, expected = compiled.at(point.state), path.at(point.state)
        assert torch.allclose(here.log_start, expected.log_start)
        assert torch.allclose(here.log_target, expected.log_target)
        for temperature in (0.1, 0.8):
            slope = compiled.gradient(point.state, temperature)
            for name, value in path.gradient(point.state, temperature).items():
                assert torch.allclose(slope[name], value)
    assert len(code._codes) == 1


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
    monkeypatch.setattr(annealed_chains, "_FEWEST", 10)

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
