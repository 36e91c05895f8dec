"""Modules that keep tensors of a run as attributes, and what else a run may change in them."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions import constraints
from pyro.infer import SVI, Trace_ELBO

import ppvae
from ppvae.engine.compilation import replay
from ppvae.inference import Compiled, JointOptim, training
from tests.engine.compilation.pairs import FEATURES, Plain, bits


class Keeping(Plain):
    """Keeps a parameter, the tensors of every run, one of which was nothing at first."""

    last = None

    def __init__(self):
        super().__init__()
        self.theta, self.parts, self.cache = None, None, {}
        self.register_buffer("rows", torch.tensor(0))

    def model(self, x):
        self.theta = pyro.param("theta", torch.ones(FEATURES), constraint=constraints.positive)
        self.rows += len(x)
        with pyro.poutine.scale(scale=self.theta.mean() + self.last.mean().sigmoid()):
            super().model(x)

    def guide(self, x):
        self.last = self.posterior(x).mean
        self.parts = ("mean and square", self.last, [self.last.square()])
        self.cache["largest"] = self.last.max()
        super().guide(x)


def kept(pair):
    _, mean, (square,) = pair.parts
    return [pair.theta, pair.last, mean, square, pair.cache["largest"], pair.rows]


@pytest.fixture(autouse=True)
def replayed(monkeypatch):
    monkeypatch.setattr(training, "generate", replay)


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_attributes_of_compiled_steps_are_those_of_the_last_step():
    torch.manual_seed(0)
    x, reached = bits(60), []
    for compile_from in (None, 2):
        with pyro.get_param_store().scope():
            torch.manual_seed(0)
            pair = Keeping()
            fit = ppvae.fit(pair, x, steps=9, batch_size=20, compile_from=compile_from)
            assert fit.compiled_from == compile_from, fit.compilation
            pair.rows.zero_()  # the runs before and after training count too
            reached.append([*kept(pair), *pair.parameters()])
    assert_same(*reached)


def test_attributes_of_a_compiled_objective_are_those_of_its_last_run():
    reached = []
    for wrap in (lambda elbo: elbo, lambda elbo: Compiled(elbo, generator=replay)):
        with pyro.get_param_store().scope():
            torch.manual_seed(0)
            pair, objective = Keeping(), wrap(Trace_ELBO())
            svi = SVI(pair.model, pair.guide, JointOptim(torch.optim.Adam), objective)
            losses = [svi.step(bits(20)) for _ in range(9)]
            reached.append([torch.tensor(losses), *kept(pair), *pair.parameters()])
    assert any(call.runs_compiled for call in objective._calls.values())
    assert reached[1][6] == 180
    assert_same(*reached)


class Momentum(Plain):
    """Reads what the run before has kept."""

    mean = torch.zeros(())

    def guide(self, x):
        with pyro.poutine.scale(scale=1 + self.mean.abs()):
            super().guide(x)
        self.mean = self.posterior(x).mean.detach().mean()


class Listing(Plain):
    def __init__(self):
        super().__init__()
        self.seen = []

    def guide(self, x):
        self.seen.append(len(x))
        super().guide(x)


class Private(Plain):
    _seen = 0

    def guide(self, x):
        self._seen += 1
        super().guide(x)


class Dictionary(Plain):
    def __init__(self):
        super().__init__()
        self.counts = {"rows": 0}

    def guide(self, x):
        self.counts["rows"] += len(x)
        super().guide(x)


class Posterior(Plain):
    def guide(self, x):
        self.q = self.posterior(x)
        super().guide(x)


REFUSED = {
    "Momentum.mean is read in the run after the one that sets it": Momentum,
    "Listing.seen changes at every run": Listing,
    r"Private._seen changes .* in a buffer: self.register_buffer\('_seen', .*0": Private,
    "Dictionary.counts.rows changes at every run": Dictionary,
    "Posterior.q is another Independent after every run": Posterior,
}


def first_fast(cases):
    """Parametrize by cases of which all but the first two are slow."""
    return [
        pytest.param(*case, id=str(case[0]), marks=[pytest.mark.slow] if place > 1 else [])
        for place, case in enumerate(cases)
    ]


@pytest.mark.parametrize(("message", "build"), first_fast(REFUSED.items()))
def test_what_else_a_run_changes_is_refused_in_one_line(message, build):
    with pytest.warns(RuntimeWarning, match=message) as told:
        fit = ppvae.fit(build(), bits(60), steps=6, batch_size=20, compile=True)
    assert len(told) == 1 and "\n" not in str(told[0].message)
    assert told[0].filename == __file__
    assert fit.reason == "finished" and fit.compiled_from is None


def test_a_counter_is_named_by_a_compiled_objective_once():
    class Counting(Plain):
        runs = 0

        def guide(self, x):
            self.runs += 1
            super().guide(x)

    pair, objective = Counting(), Compiled(Trace_ELBO(), generator=replay)
    svi = SVI(pair.model, pair.guide, JointOptim(torch.optim.Adam), objective)
    with pytest.warns(RuntimeWarning, match="uncompiled: Counting.runs changes") as told:
        for _ in range(20):
            svi.step(bits(20))
            svi.evaluate_loss(bits(20))
    assert len(told) == 1 and pair.runs == 40


FLOWS = {
    "affine": lambda: dist.transforms.affine_autoregressive(3),
    "neural": lambda: dist.transforms.neural_autoregressive(3, hidden_dims=[4]),
    "planar": lambda: dist.transforms.planar(3),
}


@pytest.mark.parametrize(("_name", "flow"), first_fast(FLOWS.items()))
def test_caches_of_flows_do_not_speak_against_code(_name, flow):
    class Flow(Plain):
        def __init__(self):
            super().__init__()
            self.flow = flow()

        def posterior(self, x):
            return dist.TransformedDistribution(super().posterior(x), [self.flow])

    reached = []
    for compile_from in (None, 1):
        torch.manual_seed(0)
        pair = Flow()
        fit = ppvae.fit(pair, bits(40), steps=6, batch_size=20, compile_from=compile_from)
        if compile_from is not None:  # from there to the end, past evaluations too
            assert fit.compilation == "compiled from step 1 on"
        reached.append([*pair.parameters()])
    assert_same(*reached)
