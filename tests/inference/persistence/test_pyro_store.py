"""Pairs saved with what they keep in Pyro's parameter store."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions import constraints
from pyro.infer import SVI, Trace_ELBO
from torch import nn

import ppvae
from ppvae import data, pairs
from ppvae.inference import ImportanceWeighted_ELBO
from tests.inference.persistence import store_pairs


@pytest.fixture
def empty_store():
    with pyro.get_param_store().scope():
        yield pyro.get_param_store()


@pytest.fixture(scope="module")
def trained_on(tmp_path_factory):
    """Return by name how each pair trains on here, and in one fresh process that loads it."""
    folder, here = tmp_path_factory.mktemp("pairs"), {}
    for number, name in enumerate(store_pairs.PAIRS):
        with pyro.get_param_store().scope():
            torch.manual_seed(0)
            pair = store_pairs.PAIRS[name]()
            store_pairs.train(pair)
            ppvae.save(pair, folder / str(number))
            here[name] = store_pairs.train(pair)
    program = (
        "import json, sys, pyro, ppvae\n"
        "from tests.inference.persistence import store_pairs\n"
        "found = {}\n"
        "for number, name in enumerate(store_pairs.PAIRS):\n"
        "    with pyro.get_param_store().scope():\n"
        "        pair = ppvae.load(f'{sys.argv[1]}/{number}', pair=store_pairs.PAIRS[name]())\n"
        "        found[name] = store_pairs.train(pair)\n"
        "print(json.dumps(found))"
    )
    shown = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(folder)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert shown.returncode == 0, shown.stderr
    return here, json.loads(shown.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("name", store_pairs.PAIRS)
def test_pair_in_the_store_trains_on_in_a_fresh_process(name, trained_on):
    here, there = trained_on
    assert there[name] == pytest.approx(here[name], rel=1e-6)


@pytest.mark.parametrize("name", store_pairs.PAIRS)
def test_pair_in_the_store_takes_the_place_of_the_one_before(name, tmp_path, empty_store):
    pair = store_pairs.PAIRS[name]()
    store_pairs.train(pair)
    ppvae.save(pair, tmp_path)
    expected = store_pairs.train(pair)
    other = store_pairs.PAIRS[name]()
    store_pairs.train(other)
    assert store_pairs.train(ppvae.load(tmp_path, pair=other)) == pytest.approx(expected)


def test_module_is_rebuilt_with_its_part_of_the_store(tmp_path, empty_store):
    pair = store_pairs.ModuleWithParam(3)
    store_pairs.train(pair)
    scale = pyro.param("scale").item()
    ppvae.save(pair, tmp_path)
    empty_store.clear()
    loaded = ppvae.load(tmp_path, trust=["tests"])
    assert pyro.param("scale").item() == pytest.approx(scale)
    assert isinstance(loaded, store_pairs.ModuleWithParam)


def test_pair_that_is_no_module_needs_mine(tmp_path, empty_store):
    ppvae.save(store_pairs.Params(), tmp_path)  # never run: there is nothing of it yet
    with pytest.raises(ValueError, match="Params is no nn.Module.*pair=mine"):
        ppvae.load(tmp_path)
    assert not empty_store


def test_hidden_module_is_loaded_once_it_has_run(tmp_path, empty_store):
    net = nn.Linear(3, 2)
    pyro.module("net", net)
    ppvae.save(store_pairs.Params(), tmp_path)
    weight = net.weight.detach().clone()
    with torch.no_grad():
        net.weight.zero_()
    ppvae.load(tmp_path, pair=store_pairs.Params())
    assert torch.equal(net.weight, weight)
    empty_store.clear()
    with pytest.warns(
        UserWarning, match="weights of pyro.module 'net' were not loaded.*run model"
    ):
        ppvae.load(tmp_path, pair=store_pairs.Params())
    assert not empty_store


CONSTRAINTS = [
    constraints.real,
    constraints.positive,
    constraints.nonnegative,
    constraints.greater_than(2.0),
    constraints.less_than(-1.5),
    constraints.interval(-1.0, 3.0),
    constraints.interval(torch.tensor([0.0, 1.0]), torch.tensor([2.0, 5.0])),
    constraints.unit_interval,
    constraints.simplex,
    constraints.lower_cholesky,
    constraints.corr_cholesky,
    constraints.softplus_positive,
    constraints.softplus_lower_cholesky,
    constraints.ordered_vector,
    constraints.real_vector,
    constraints.independent(constraints.greater_than(2.0), 1),
]


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=str)
def test_constraint_is_kept(constraint, tmp_path, empty_store):
    raw = torch.tensor([0.3, -0.7])
    value = torch.distributions.transform_to(constraint)(
        torch.tensor([[0.3, -0.7], [0.2, 0.1]])
        if getattr(constraint, "event_dim", 0) == 2 and "corr" not in str(constraint).lower()
        else raw[:1]
        if "corr" in str(constraint).lower()
        else raw
    )
    pyro.param("value", value, constraint=constraint)
    ppvae.save(store_pairs.Params(), tmp_path)
    stored = empty_store._params["value"].detach().clone()
    empty_store.clear()
    ppvae.load(tmp_path, pair=store_pairs.Params())
    assert torch.equal(empty_store._params["value"], stored)
    assert torch.equal(pyro.param("value"), torch.distributions.transform_to(constraint)(stored))
    kept = empty_store._constraints["value"]
    assert str(kept) == str(constraint)
    assert empty_store._params["value"].requires_grad


def test_unknown_constraint_is_refused_by_name(tmp_path, empty_store):
    both = constraints.stack([constraints.real, constraints.positive], dim=-1)
    pyro.param("odd", torch.ones(2), constraint=both)
    with pytest.raises(ValueError, match="parameter 'odd' of Pyro's store has the constraint"):
        ppvae.save(store_pairs.Params(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_store_stays_out_of_pairs_of_ours(tmp_path, empty_store):
    pyro.param("another's", torch.ones(2))
    ppvae.save(pairs.assemble(data.digits(), latent=2), tmp_path)
    assert "store" not in json.loads((tmp_path / "pair.json").read_text())


class Random:
    """A guide whose parameter starts at random, as one without an `nn.Module` must."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x):
        slope = pyro.param("slope", lambda: torch.randn(2))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(slope * x, 1.0).to_event(1))


def by_fit(seed, objective):
    still = functools.partial(torch.optim.SGD, lr=0.0)
    ppvae.fit(Random(), torch.ones(4, 2), steps=1, optimizer=still, objective=objective, seed=seed)


def by_svi(seed, objective):
    pyro.set_rng_seed(seed)
    svi = SVI(Random().model, Random().guide, pyro.optim.SGD({"lr": 0.0}), objective)
    svi.step(torch.ones(4, 2))


@pytest.mark.parametrize("train", [by_fit, by_svi])
@pytest.mark.parametrize("objective", [Trace_ELBO, functools.partial(ImportanceWeighted_ELBO, 2)])
def test_restarts_start_elsewhere_by_their_seed(train, objective):
    started = []
    for seed in (1, 1, 2):
        with pyro.get_param_store().scope():
            train(seed, objective())
            started.append(pyro.param("slope").detach().clone())
    assert torch.equal(started[0], started[1])
    assert not torch.allclose(started[0], started[2])
