"""Pairs loaded before their first run."""

import json
import subprocess
import sys
from pathlib import Path

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoDelta, AutoNormal
from pyro.infer.autoguide.structured import AutoStructured
from pyro.nn import PyroModule, PyroParam
from torch import nn

import ppvae
from tests.inference.persistence import store_pairs


@pytest.fixture
def empty_store():
    with pyro.get_param_store().scope():
        yield pyro.get_param_store()


@pytest.mark.parametrize("name", store_pairs.AUTOGUIDES)
def test_autoguide_is_loaded_before_its_first_run(name, tmp_path, empty_store):
    pair = store_pairs.with_autoguide(name)
    store_pairs.train(pair, steps=2)
    ppvae.save(pair, tmp_path)
    state = {key: value.clone() for key, value in pair.guide.state_dict().items()}
    expected = store_pairs.train(pair, steps=2)
    empty_store.clear()
    random_state = torch.get_rng_state()
    fresh = ppvae.load(tmp_path, pair=store_pairs.with_autoguide(name))
    assert torch.equal(torch.get_rng_state(), random_state)
    loaded = fresh.guide.state_dict()
    assert state and loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    assert fresh.guide.create_plates is None or name == "AutoGuideList"
    assert store_pairs.train(fresh, steps=2) == expected


@pytest.mark.slow
def test_autoguide_is_loaded_in_a_fresh_process(tmp_path, empty_store):
    pair = store_pairs.with_autoguide("AutoNormal")
    store_pairs.train(pair)
    ppvae.save(pair, tmp_path)
    program = (
        "import json, sys, ppvae\n"
        "from tests.inference.persistence import store_pairs\n"
        "pair = ppvae.load(sys.argv[1], pair=store_pairs.with_autoguide('AutoNormal'))\n"
        "print(json.dumps([pair.guide.median()['loc'].item(), *store_pairs.train(pair)]))"
    )
    shown = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert shown.returncode == 0, shown.stderr
    expected = [pair.guide.median()["loc"].item(), *store_pairs.train(pair)]
    assert json.loads(shown.stdout) == pytest.approx(expected, rel=1e-6)


@pytest.mark.verify
def test_training_of_an_autoguide_resumes_in_a_fresh_process(tmp_path, empty_store):
    program = (
        "import sys, ppvae\n"
        "from tests.inference.persistence import store_pairs, test_first_runs as tests\n"
        "options = {'compile': False, 'progress': False}\n"
        "if len(sys.argv) > 1: options['resume'] = sys.argv[1]\n"
        "ppvae.fit(tests.local_pair(), store_pairs.data(), steps=6, **options)\n"
        "import pyro\n"
        "print(pyro.param('AutoNormal.locs.z').tolist())"
    )
    options = {"compile": False, "progress": False, "checkpoint": tmp_path}
    ppvae.fit(local_pair(), store_pairs.data(), steps=3, **options)
    shown = [
        subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        for arguments in ([str(tmp_path)], [])
    ]
    assert all(run.returncode == 0 for run in shown), shown[0].stderr + shown[1].stderr
    assert shown[0].stdout == shown[1].stdout


def local_pair():
    """A pair of functions with an autoguide inside the data plate."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x[:, 0])

    return store_pairs.SimpleNamespace(model=model, guide=AutoNormal(model))


def test_what_cannot_be_made_is_said_with_the_remedy(tmp_path, empty_store):
    pair = store_pairs.with_autoguide("AutoDelta")
    store_pairs.train(pair, steps=1)
    ppvae.save(pair, tmp_path)
    other = store_pairs.with_autoguide("AutoNormal")
    with pytest.raises(ValueError, match="belongs to another pair: missing"):
        ppvae.load(tmp_path, pair=other)

    def structured():
        return store_pairs.SimpleNamespace(model=normal, guide=AutoStructured(normal))

    pair = structured()
    pair.guide(store_pairs.data())
    ppvae.save(pair, tmp_path)
    fresh = structured()
    with pytest.raises(ValueError, match=r"call pair.model\(\*batch\) and pair.guide\(\*batch\)"):
        ppvae.load(tmp_path, pair=fresh)
    fresh.guide(store_pairs.data())
    ppvae.load(tmp_path, pair=fresh)


def normal(x):
    loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(loc, 1.0), obs=x[:, 0])


@pytest.mark.parametrize("damage", [{"shape": [10**12]}, {"support": ["os.system"]}, {"name": 1}])
def test_damaged_latents_are_refused(damage, tmp_path, empty_store):
    pair = store_pairs.SimpleNamespace(model=normal, guide=AutoNormal(normal))
    pair.guide(store_pairs.data())
    ppvae.save(pair, tmp_path)
    structure = json.loads((tmp_path / "pair.json").read_text())
    structure["autoguides"]["guide"][0] |= damage
    (tmp_path / "pair.json").write_text(json.dumps(structure))
    pair.guide = AutoDelta(normal)
    with pytest.raises(ValueError, match=r"pair.json is damaged: .* latents its autoguides have"):
        ppvae.load(tmp_path, pair=pair)


class Late(PyroModule):
    """A module whose parameters are made when they are used first."""

    def __init__(self):
        super().__init__()
        self.net = nn.LazyLinear(4)

    @PyroParam(constraint=dist.constraints.positive)
    def scale(self):
        return torch.rand(())

    def model(self, x):
        with self._pyro_context:
            store_pairs.model(x, self.scale)

    def guide(self, x):
        store_pairs.guide(x, self.net)


def test_parameters_made_when_used_are_loaded_before(tmp_path, empty_store):
    pair = Late()
    pair.net(store_pairs.data())
    store_pairs.train(pair)
    ppvae.save(pair, tmp_path)
    expected = store_pairs.train(pair)
    empty_store.clear()
    assert store_pairs.train(ppvae.load(tmp_path, pair=Late())) == pytest.approx(expected)
