"""Whole steps as graphs: the trainings that Pyro's own steps would have been."""

import contextlib
import functools
import math
import re

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, IterableDataset

import ppvae
import ppvae.inference.training as training
from ppvae import likelihoods, networks, posteriors, priors
from ppvae.engine.compilation import CaptureError, Replay, replay
from ppvae.inference import Checkpoints, ImportanceWeighted_ELBO, LinearWarmup
from tests.engine.compilation.pairs import (
    Normalized,
    Plain,
    Stored,
    Summed,
    bits,
    reals,
)
from tests.marks import slow_but


@pytest.fixture(autouse=True)
def replayed(monkeypatch, request):
    """Run graphs operation by operation, unless a test is about generated code."""
    if "generated" not in request.keywords:
        monkeypatch.setattr(training, "generate", replay)


def vae(seed=0):
    torch.manual_seed(seed)
    return ppvae.VAE(
        priors.StandardNormal(2),
        likelihoods.Bernoulli(networks.MLP(2, 6, hidden=[8])),
        posteriors.DiagonalNormal(networks.MLP(6, 4, hidden=[8])),
    ).double()


def data(rows=100):
    return (torch.rand(rows, 6, generator=torch.Generator().manual_seed(1)) < 0.4).double()


def weights(pair):
    return {name: tensor.detach().clone() for name, tensor in pair.state_dict().items()}


def assert_same(first, second, rtol=1e-9):
    """In double precision rounding stays far below this over some dozen steps."""
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=rtol, atol=rtol)


OPTIMIZERS = {
    "Adam": functools.partial(torch.optim.Adam, lr=0.01),
    "Adam, AMSGrad and decay": functools.partial(
        torch.optim.Adam, lr=0.01, amsgrad=True, weight_decay=0.1
    ),
    "Adam, maximized": functools.partial(torch.optim.Adam, lr=1e-4, maximize=True),
    "Adam, not fused": functools.partial(torch.optim.Adam, lr=0.01, fused=False),
    "AdamW": functools.partial(torch.optim.AdamW, lr=0.01, weight_decay=0.3),
    "Adamax": functools.partial(torch.optim.Adamax, lr=0.01, weight_decay=0.1),
    "RMSprop": functools.partial(torch.optim.RMSprop, lr=1e-3, alpha=0.9, eps=1e-10),
    "RMSprop, centered with momentum": functools.partial(
        torch.optim.RMSprop, lr=1e-3, centered=True, momentum=0.5, weight_decay=0.1
    ),
    "SGD": functools.partial(torch.optim.SGD, lr=1e-4),
    "SGD, Nesterov's momentum": functools.partial(
        torch.optim.SGD, lr=1e-4, momentum=0.9, nesterov=True, weight_decay=0.1
    ),
    "SGD, dampened": functools.partial(torch.optim.SGD, lr=1e-4, momentum=0.9, dampening=0.5),
    "groups": lambda parameters: torch.optim.Adam(
        [
            {"params": list(parameters)[:3], "lr": 0.02},
            {"params": list(parameters)[3:], "weight_decay": 0.1},
        ],
        lr=0.01,
        weight_decay=0.01,
    ),
}
FAST = {"AdamW", "groups"}


@pytest.mark.parametrize(
    ("optimizer", "clip_norm"),
    [
        *(
            pytest.param(value, None, id=name, marks=[] if name in FAST else [pytest.mark.slow])
            for name, value in OPTIMIZERS.items()
        ),
        pytest.param(OPTIMIZERS["Adam"], 5.0, id="Adam, clipped"),
        *(
            pytest.param(value, 5.0, id=f"{name}, clipped", marks=pytest.mark.verify)
            for name, value in OPTIMIZERS.items()
            if name != "Adam"
        ),
    ],
)
def test_training_is_the_uncompiled_one(optimizer, clip_norm):
    reached, ended = [], []
    for compile in (False, True):
        pair = vae()
        fit = ppvae.fit(
            pair,
            data(),
            epochs=6,
            batch_size=30,  # the last of an epoch has 10
            optimizer=optimizer,
            clip_norm=clip_norm,
            compile=compile,
        )
        reached.append(weights(pair))
        ended.append((fit.steps, fit.compiled_from))
        assert not any(parameter.grad is not None for parameter in pair.parameters())
    assert ended == [(24, None), (24, 2)]
    assert_same(*reached)


SETTINGS = {
    "a schedule": {"schedule": functools.partial(StepLR, step_size=1, gamma=0.5)},
    "a plateau": {
        "schedule": functools.partial(ReduceLROnPlateau, patience=0),
        "validation": data(20),
    },
    "a warm-up of the KL": {"kl_weight": LinearWarmup(15)},
    "a KL weight": {"kl_weight": 0.3},
    "a warm-up with gradients through the draws": {
        "kl_weight": LinearWarmup(15),
        "objective": ImportanceWeighted_ELBO(3, doubly_reparameterized=True),
    },
    "a closed-form KL": {"objective": TraceMeanField_ELBO()},
    "one batch": {"batch_size": 100, "epochs": 20},
    "batches of one's own": {"batch_size": None},
}


SHARPEST = {"a plateau", "a warm-up of the KL", "batches of one's own"}


@pytest.mark.parametrize("settings", slow_but(SHARPEST, SETTINGS))
def test_settings_reach_the_graph(settings):
    reached, losses = [], []
    for compile in (False, True):
        x, chosen = data(), {"batch_size": 25, "epochs": 6, **settings}
        if chosen["batch_size"] is None:
            x = [x[start : start + 20] for start in range(0, 100, 20)]
        pair = vae()
        fit = ppvae.fit(pair, x, compile=compile, **chosen)
        reached.append(weights(pair))
        losses.append(fit.history.train_loss.values)
        assert (fit.compiled_from is not None) is compile
    assert_same(*reached)
    np.testing.assert_allclose(*losses, rtol=1e-9)  # no seam


STRANGERS = {
    "plain": (Plain, Trace_ELBO, bits),
    "store": (Stored, Trace_ELBO, reals),
    "buffers": (Normalized, Trace_ELBO, bits),
    "summed out": (Summed, TraceEnum_ELBO, bits),
}


@pytest.mark.parametrize(("build", "objective", "draw"), slow_but({"store", "buffers"}, STRANGERS))
def test_strangers_are_trained_alike(build, objective, draw):
    reached = []
    torch.manual_seed(0)
    x = draw(60)
    for compile in (False, True):
        with pyro.get_param_store().scope():
            torch.manual_seed(0)
            pair = build()
            fit = ppvae.fit(
                pair, x, epochs=4, batch_size=20, objective=objective(), compile=compile
            )
            assert fit.compiled_from == (2 if compile else None)
            stored = {name: value.detach() for name, value in pyro.get_param_store().items()}
            reached.append(weights(pair) | stored)
    assert_same(*reached, rtol=1e-4)  # of single precision


@pytest.mark.parametrize(
    ("switched", "stops"),
    [
        (None, [7]),
        pytest.param(9, [2, 7, 13], marks=pytest.mark.slow),
        *(pytest.param(step, [2, 7, 13], marks=pytest.mark.verify) for step in (None, 3)),
    ],
)
@pytest.mark.filterwarnings("ignore:kl_weight is a LinearWarmup of 12 steps")
def test_resumed_training_is_bit_for_bit_the_whole_one(switched, stops, tmp_path):
    choice = {"compile": True, "compile_from": switched}
    options = {"epochs": 5, "batch_size": 25, "kl_weight": LinearWarmup(12)}
    whole = vae()
    fit = ppvae.fit(whole, data(), **choice, **options)
    assert fit.compiled_from == (2 if switched is None else switched)
    for stop in stops:
        folder = tmp_path / str(stop)
        first = {**options, "epochs": None, "steps": stop}
        ppvae.fit(vae(), data(), **choice, checkpoint=folder, **first)
        second = vae(seed=5)
        resumed = ppvae.fit(second, data(), **choice, resume=folder, **options)
        assert resumed.steps == 20
        expected, got = weights(whole), weights(second)
        assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_repeat_from_the_recorded_step_is_bit_for_bit_the_same():
    first, second = vae(), vae()
    fit = ppvae.fit(first, data(), epochs=5, batch_size=25, compile=True)
    again = ppvae.fit(second, data(), epochs=5, batch_size=25, compile_from=fit.compiled_from)
    assert again.compiled_from == fit.compiled_from
    expected, got = weights(first), weights(second)
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_compiled_training_goes_on_without(tmp_path):
    plain, mixed = vae(), vae(seed=5)
    ppvae.fit(plain, data(), epochs=6, batch_size=25, compile=False)
    ppvae.fit(
        vae(), data(), epochs=3, batch_size=25, compile=True, checkpoint=Checkpoints(tmp_path, 0)
    )
    fit = ppvae.fit(mixed, data(), epochs=6, batch_size=25, compile=False, resume=tmp_path)
    assert fit.compiled_from is None
    assert_same(weights(plain), weights(mixed))


def test_little_work_is_not_compiled(monkeypatch):
    fit = ppvae.fit(vae(), data(), epochs=10, batch_size=25)
    assert fit.compiled_from is None
    assert re.fullmatch("not compiled: too little to gain in [0-9] s", fit.compilation)


def test_much_work_is_compiled_as_soon_as_the_code_is_there(monkeypatch):
    polls = []

    class Late(Replay):
        @property
        def ready(self):
            polls.append(None)
            return len(polls) > 7

    monkeypatch.setattr(training, "generate", lambda graph, inputs: Late(graph))
    monkeypatch.setattr("ppvae.inference.steps.switching._MIN_SECONDS_LEFT", 0.0)
    fit = ppvae.fit(vae(), data(), epochs=10, batch_size=25)
    assert fit.compiled_from == 27  # 20 steps are timed, and 7 times there is no code yet
    assert fit.compilation == "compiled from step 27 on"


class Stream(IterableDataset):
    """Rows without a known end."""

    def __iter__(self):
        return iter(data())


class Liar(Stream):
    """Batches, fewer of which are promised than come."""

    def __len__(self):
        return 2

    def __iter__(self):
        return iter(data().split(20))


def test_a_length_that_is_wrong_does_no_harm():
    assert ppvae.fit(vae(), Liar(), steps=2).steps == 2
    assert ppvae.fit(vae(), Liar(), epochs=2).steps == 10


SOURCES = {
    "a DataLoader": (lambda: DataLoader(data(), batch_size=30, shuffle=True), 20),
    "a list whose shorter batch comes first": (lambda: [*data().split([10, 30, 30, 30])], 21),
    "a stream": (lambda: DataLoader(Stream(), batch_size=30), None),
}


@pytest.mark.parametrize(
    ("source", "switched"), slow_but(SOURCES.keys() - {"a DataLoader"}, SOURCES)
)
def test_batches_of_ones_own_are_compiled_if_their_number_is_known(source, switched, monkeypatch):
    monkeypatch.setattr("ppvae.inference.steps.switching._MIN_SECONDS_LEFT", 0.0)
    plain, compiled = vae(), vae()
    ppvae.fit(plain, source(), epochs=8, compile=False)
    fit = ppvae.fit(compiled, source(), epochs=8)
    assert_same(weights(plain), weights(compiled))
    assert fit.compiled_from == switched
    if switched is None:
        assert fit.compilation == "not compiled: it is not known how many steps there will be"


def test_code_is_not_made_for_the_last_smaller_batch(monkeypatch):
    monkeypatch.setattr("ppvae.inference.steps.switching._MIN_SECONDS_LEFT", 0.0)
    monkeypatch.setattr("ppvae.inference.steps.switching._TIMED_STEPS", 3)
    fit = ppvae.fit(vae(), [*data(70).split(20)], epochs=3)
    assert fit.compiled_from == 4  # the batch that would be due, number 3, has 10 rows


def test_code_that_never_comes_does_no_harm(monkeypatch):
    class Never(Replay):
        ready = False

    monkeypatch.setattr(training, "generate", lambda graph, inputs: Never(graph))
    plain, waiting = vae(), vae()
    ppvae.fit(plain, data(), epochs=3, compile=False)
    assert ppvae.fit(waiting, data(), epochs=3, compile=True).compiled_from is None
    expected, got = weights(plain), weights(waiting)
    assert all(torch.equal(expected[name], got[name]) for name in expected)


class Wrong(Replay):
    """A generator that makes a mistake."""

    def __init__(self, graph, mistake):
        super().__init__(graph)
        self.mistake = mistake

    def result(self):
        module = self.graph.module

        def run(inputs):
            outputs = module(*inputs)
            self.mistake(inputs, outputs)
            return outputs

        return run


class NoCompiler(Replay):
    def result(self):
        raise CaptureError("no code could be generated: no compiler found")


class Crashing(Replay):
    def result(self):
        def run(inputs):
            raise RuntimeError("unhandled error")

        return run


@pytest.mark.parametrize(
    ("code", "message"),
    [
        pytest.param(
            NoCompiler, "not compiled: no code could be generated", marks=pytest.mark.slow
        ),
        (Crashing, "not compiled: compiled, it fails: unhandled error"),
    ],
)
def test_without_working_code_training_goes_on_as_it_was(code, message, monkeypatch):
    monkeypatch.setattr(training, "generate", lambda graph, inputs: code(graph))
    plain, trained = vae(), vae()
    ppvae.fit(plain, data(), epochs=3, batch_size=25, compile=False)
    with pytest.warns(RuntimeWarning, match=message):
        ppvae.fit(trained, data(), epochs=3, batch_size=25, compile=True)
    expected, got = weights(plain), weights(trained)
    assert all(torch.equal(expected[name], got[name]) for name in expected)


MISTAKES = {
    "the loss would be": lambda inputs, outputs: outputs[0].mul_(1.01),
    "the parameters would differ": lambda inputs, outputs: inputs[0].add_(1e-3),
    "the optimizer's state would differ": lambda inputs, outputs: inputs[1].mul_(0.99),
    "the loss is nan": lambda inputs, outputs: outputs[0].fill_(math.nan)[1].zero_(),
}


@pytest.mark.parametrize(
    ("message", "mistake"),
    slow_but(
        {"the parameters would differ", "the loss is nan"},
        {m: (m, f) for m, f in MISTAKES.items()},
    ),
)
def test_wrong_code_is_found_out_and_not_used(message, mistake, monkeypatch):
    monkeypatch.setattr(training, "generate", lambda graph, inputs: Wrong(graph, mistake))
    plain, trained = vae(), vae()
    ppvae.fit(plain, data(), epochs=3, batch_size=25, compile=False)
    with pytest.warns(RuntimeWarning, match=message):
        fit = ppvae.fit(trained, data(), epochs=3, batch_size=25, compile=True)
    assert fit.compiled_from is None and message in fit.compilation
    expected, got = weights(plain), weights(trained)
    assert all(torch.equal(expected[name], got[name]) for name in expected)


class Branching(Plain):
    """A guide whose samples decide which way the program goes."""

    def guide(self, x):
        self.announce()
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.posterior(x))
        if z.mean() > 0:
            pyro.deterministic("positive", z)


class Rejecting(Plain):
    """Angles drawn by rejection: a loop that lasts as long as it takes."""

    def model(self, x):
        self.announce()
        with pyro.plate("data", len(x)):
            angle = pyro.sample("angle", dist.VonMises(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(angle.unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(self, x):
        self.announce()
        with pyro.plate("data", len(x)):
            loc, raw = self.encoder(x)[:, 0], self.encoder(x)[:, 1]
            pyro.sample("angle", dist.VonMises(loc, raw.exp()))


class Counting(Plain):
    """A number that its own program changes at every run."""

    runs = 0

    def guide(self, x):
        self.runs += 1
        self.announce()
        with pyro.plate("data", len(x)), pyro.poutine.scale(scale=1.0 / self.runs):
            pyro.sample("z", self.posterior(x))


class Numpy(Plain):
    def guide(self, x):
        self.announce()
        with pyro.plate("data", len(x)), pyro.poutine.scale(scale=float(np.random.rand())):
            pyro.sample("z", self.posterior(x))


class Selecting(Plain):
    """A shape that depends on values."""

    def guide(self, x):
        super().guide(x)
        x[x.sum(1) > 2].sum()


class Uncapturable(Plain):
    """An operation that works on values and on nothing that stands for them."""

    def guide(self, x):
        super().guide(x)
        if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
            raise RuntimeError("no such operation here")


REFUSED = {
    "it cannot be captured: no such operation here": Uncapturable,
    "Python reads a tensor's value by `bool` in Branching.guide": Branching,
    "site 'angle': Python reads a tensor's value by `bool`": Rejecting,
    "draws random numbers from Python or NumPy": Numpy,
    "returns a number or shape that depends on values in Selecting.guide": Selecting,
    "Counting.runs changes at every run of the pair": Counting,
}


@pytest.mark.parametrize(("message", "build"), REFUSED.items())
def test_what_no_graph_can_do_is_trained_without(message, build):
    torch.manual_seed(0)
    x, reached = bits(60), []
    for compile in (False, True):
        with pyro.get_param_store().scope():
            torch.manual_seed(0)
            pair = build()
            if compile:
                with pytest.warns(RuntimeWarning, match=message) as told:
                    fit = ppvae.fit(pair, x, epochs=3, batch_size=20, compile=True)
                assert len(told) == 1
                assert fit.compiled_from is None and message in fit.compilation
            else:
                ppvae.fit(pair, x, epochs=3, batch_size=20, compile=False)
            reached.append(weights(pair))
    if build is not Counting:  # to look at it is to change it
        assert all(torch.equal(reached[0][name], reached[1][name]) for name in reached[0])


def test_a_number_that_changes_between_epochs_ends_the_compiled_part_by_name():
    class Aging(Plain):
        def __init__(self):
            super().__init__()
            self.age = 0

    torch.manual_seed(0)
    pair = Aging()

    def older(training):
        pair.age += 1

    options = {"batch_size": 6, "callbacks": [older], "compile": True}
    fit = ppvae.fit(pair, bits(60), epochs=3, **options)
    assert fit.compilation == "compiled from step 2 on, then no longer: Aging.age has changed"
    assert (fit.reason, fit.steps, fit.compiled_from) == ("finished", 30, 2)


def test_optimizer_without_a_formula_is_used_as_it_is():
    with pytest.warns(RuntimeWarning, match="Rprop has no compiled form; those that have"):
        fit = ppvae.fit(vae(), data(), steps=9, optimizer=torch.optim.Rprop, compile=True)
    assert fit.compiled_from is None


def test_pyro_optimizer_is_used_as_it_is():
    optim = pyro.optim.Adam({"lr": 0.01})
    fit = ppvae.fit(vae(), data(), epochs=2, optimizer=optim)
    assert fit.compilation == "not compiled: PyroOptim is no torch optimizer"


def test_change_between_epochs_is_captured_anew():
    class Dropped(Normalized):
        def forget(self):
            self.encoder[2].p = 0.9

    reached = []
    torch.manual_seed(0)
    x = bits(60)
    for compile in (False, True):
        with pyro.get_param_store().scope():
            torch.manual_seed(0)
            pair = Dropped()

            def change(training, pair=pair):
                if training.epoch == 4:
                    pair.forget()

            fit = ppvae.fit(pair, x, epochs=8, batch_size=20, compile=compile, callbacks=[change])
            assert fit.compiled_from == (2 if compile else None)
            reached.append(weights(pair))
    assert_same(*reached, rtol=1e-4)


def test_data_outside_the_support_are_named_by_a_compiled_step_too():
    x = data()
    x[40] = 0.5
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="lie outside the support of Bernoulli"):
        ppvae.fit(vae(), x.roll(3, 0), epochs=30, batch_size=2, compile_from=2)


def test_divergence_of_a_compiled_step_keeps_the_last_good_weights():
    pair = vae()
    optimizer = functools.partial(torch.optim.SGD, lr=1e3)
    with pytest.raises(ppvae.inference.Diverged, match="step") as diverged:
        ppvae.fit(pair, data(), epochs=30, batch_size=25, compile_from=1, optimizer=optimizer)
    assert diverged.value.fit.reason == "diverged"
    assert all(torch.isfinite(tensor).all() for tensor in pair.parameters())


class Rooted(Plain):
    """Has finite losses, and a gradient that is NaN where the first feature is zero."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def posterior(self, x):
        loc, raw = self.encoder(x).chunk(2, -1)
        return dist.Normal(loc + (self.weight * x[:, :1]).sqrt(), raw.exp()).to_event(1)


class Steep(Plain):
    """Has a gradient whose square is beyond single precision where the first feature is zero."""

    def posterior(self, x):
        loc, raw = self.encoder(x).chunk(2, -1)
        steep = torch.where(x[:, :1] == 0, 1e30 * (loc - loc.detach()), 0.0)
        return dist.Normal(loc + steep, raw.exp()).to_event(1)


@pytest.mark.parametrize(
    "compile_from",
    [
        None,
        2,
        pytest.param(3, marks=[pytest.mark.slow, pytest.mark.generated], id="generated"),
    ],
)
@pytest.mark.parametrize("build", [Rooted, Steep])
def test_a_gradient_that_is_not_finite_is_no_step(build, compile_from):
    torch.manual_seed(0)
    pair = build()
    x = data().float()
    x[:, 0] = 1
    x[7, 0] = 0
    with pytest.raises(ppvae.inference.Diverged, match="gradient is NaN.*at another") as diverged:
        ppvae.fit(pair, x, epochs=1, batch_size=2, compile_from=compile_from)
    assert diverged.value.fit.compiled_from == compile_from
    assert all(torch.isfinite(tensor).all() for tensor in pair.parameters())


def test_code_is_for_the_larger_batches_whichever_comes_first():
    """Step 2, at which code is asked for, is the last and smaller one of its epoch."""
    reached = []
    for compile in (False, True):
        pair = vae()
        fit = ppvae.fit(pair, data(22), epochs=3, batch_size=10, compile=compile)
        reached.append(weights(pair))
    assert fit.compiled_from == 3
    assert_same(*reached)


class Extreme(Plain):
    """Remembers the largest number it has seen, beginning with none."""

    def __init__(self):
        super().__init__()
        self.register_buffer("largest", torch.tensor(-math.inf))

    def model(self, x):
        self.largest.copy_(torch.maximum(self.largest, x.max()))
        super().model(x)


@pytest.mark.parametrize("wrong", [False, True])
def test_each_buffer_is_compared_for_itself(wrong, monkeypatch):
    class Spoiling(Replay):
        def result(self):
            run = super().result()

            def spoiled(inputs):
                outputs = run(inputs)
                pair.largest.fill_(math.nan)
                return outputs

            return spoiled if wrong else run

    monkeypatch.setattr(training, "generate", lambda graph, inputs: Spoiling(graph))
    torch.manual_seed(0)
    pair = Extreme()
    with pytest.warns(RuntimeWarning, match="a buffer") if wrong else contextlib.nullcontext():
        fit = ppvae.fit(pair, bits(60), epochs=3, batch_size=20, compile=True)
    assert fit.compiled_from == (None if wrong else 2)
    assert pair.largest == 1


class Overshooting(Plain):
    """Has a parameter that soon leaves its range, where its log density is finite all the same."""

    def __init__(self):
        super().__init__()
        self.shape = torch.nn.Parameter(torch.ones(()))

    def model(self, x):
        super().model(x)
        with pyro.plate("more", len(x)):
            small = torch.full((len(x),), 1e-3).double()
            pyro.sample("y", dist.Gamma(self.shape, 1.0), obs=small)


@pytest.mark.parametrize("compile_from", [None, 1])
def test_parameters_out_of_their_range_are_named(compile_from):
    torch.manual_seed(0)
    optimizer = functools.partial(torch.optim.Adam, lr=0.3)
    found = "concentration of Gamma at site 'y' lies between.*outside its range"
    with pytest.raises(ppvae.inference.Diverged, match=found) as diverged:
        options = {"compile_from": compile_from, "optimizer": optimizer}
        ppvae.fit(Overshooting().double(), data(), steps=30, **options)
    assert diverged.value.fit.compiled_from == compile_from


@pytest.mark.parametrize("step", [0, 1, 17])
def test_a_number_is_no_choice_but_a_step_to_compile_from(step):
    with pytest.raises(TypeError, match=f"got {step}; .* pass compile_from={step}"):
        ppvae.fit(vae(), data(), steps=1, compile=step)


CHOICES = {
    "True, False or 'auto', got 'maybe'": {"compile": "maybe"},
    "compile_from must be at least 0, got -1": {"compile_from": -1},
    "compile=False contradicts compile_from=3": {"compile": False, "compile_from": 3},
}


@pytest.mark.parametrize(("message", "options"), CHOICES.items(), ids=CHOICES.keys())
def test_choices_that_make_no_sense_are_refused(message, options):
    with pytest.raises(ValueError, match=message):
        ppvae.fit(vae(), data(), steps=1, **options)


def test_compiling_from_the_first_step_begins_when_the_optimizer_has_a_state():
    fit = ppvae.fit(vae(), data(), epochs=2, batch_size=25, compile_from=0)
    assert fit.compiled_from == 0 and fit.compilation == "compiled from step 1 on"


def test_large_graphs_need_more_time_left(monkeypatch):
    monkeypatch.setattr("ppvae.inference.steps.switching._MIN_SECONDS_LEFT", 0.01)
    monkeypatch.setattr("ppvae.inference.steps.switching._TIMED_STEPS", 3)
    monkeypatch.setattr("ppvae.inference.steps.switching._OPERATIONS", 1e-4)
    fit = ppvae.fit(vae(), data(60), epochs=4, batch_size=10)
    assert re.search(r"not compiled: too little to gain in .* operations", fit.compilation)
