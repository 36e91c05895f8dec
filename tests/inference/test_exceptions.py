"""An exception of a model, guide, callback, loader or schedule leaves `fit` as it was raised."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import ppvae
from ppvae.inference import Checkpoints, Diverged
from ppvae.inference.persistence import as_records

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))


class Failing(nn.Module):
    """Raises an exception in the model or guide, at a run of it in training mode."""

    def __init__(self, error=None, place="model", run=3):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(4, 1), nn.Linear(1, 4)
        self.error, self.place, self.run = error, place, run
        self.runs = {"model": 0, "guide": 0}

    def model(self, x):
        self.fail("model")
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        self.fail("guide")
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 1.0).to_event(1))

    def fail(self, place):
        self.runs[place] += self.training  # `isolated` switches to evaluation mode
        if self.error is not None and place == self.place and self.runs[place] >= self.run:
            raise self.error


class Pickled(ValueError):
    """An exception that is not made of one message."""

    def __init__(self, code, reason):
        super().__init__(code, reason)
        self.code = code


def fit(pair, data=X, **options):
    return ppvae.fit(pair, data, batch_size=20 if data is X else None, compile=False, **options)


def functions_of(error):
    functions, traceback = [], error.__traceback__
    while traceback is not None:
        functions.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    return functions


@pytest.mark.parametrize("place", ["model", "guide"])
@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (RuntimeError, ["first\nsecond"]),
        (ValueError, ["first\nsecond"]),
        (NotImplementedError, []),
        (torch.OutOfMemoryError, ["CUDA out of memory"]),
        (KeyError, ["z"]),
        (ConnectionError, ["offline"]),
        (Pickled, [3, "not made of one message"]),
    ],
)
def test_a_program_that_raises_at_the_third_step(kind, arguments, place):
    error = kind(*arguments)
    message, pair = str(error), Failing(error, place)
    with pytest.raises(kind) as raised:
        fit(pair, epochs=3)
    assert raised.value is error and str(error) == message
    assert error.__notes__ == ["at step 3, on data of shape (20, 4)"]
    assert functions_of(error)[-2:] == [place, "fail"]
    assert error.__cause__ is None and error.__context__ is None
    assert all(p.grad is None and bool(p.isfinite().all()) for p in pair.parameters())


def test_the_traceback_shows_the_whole_way_through_pyro():
    with pytest.raises(RuntimeError) as raised:
        fit(Failing(RuntimeError("mine")), epochs=3)
    assert {"fit", "step", "loss_and_grads", "model"} <= {*functions_of(raised.value)}


def test_a_bare_not_implemented_error_is_no_empty_sentence():
    class Guide(Failing):
        def guide(self, x):
            if self.training:
                raise NotImplementedError
            super().guide(x)

    with pytest.raises(NotImplementedError) as raised:
        fit(Guide(), epochs=1)
    assert (type(raised.value), str(raised.value)) == (NotImplementedError, "")
    assert raised.value.__notes__ == ["at step 1, on data of shape (20, 4)"]


def test_a_density_of_wrong_shape_says_the_shapes_first():
    class Narrow(Failing):
        def __init__(self):
            super().__init__()
            self.decoder = nn.Linear(1, 3)

    cause = r"at site 'x': shape mismatch of value and distribution, \[20, 4\] vs \[20, 3\]"
    with pytest.raises(ValueError, match=rf"^{cause}") as raised:
        fit(Narrow(), epochs=1)
    assert raised.value.__notes__ == ["at step 1, on data of shape (20, 4)"]
    assert "Trace Shapes:" in str(raised.value.__cause__)


def raising(error, when=lambda training: True):
    def callback(training):
        if when(training):
            raise error

    return callback


def test_a_callback_that_raises():
    error, pair = ConnectionError("line one\nline two"), Failing()
    with pytest.raises(ConnectionError) as raised:
        fit(pair, epochs=5, callbacks=[raising(error)])
    assert raised.value is error and str(error) == "line one\nline two"
    assert error.__notes__ == ["in the callback raising.<locals>.callback after step 12"]
    assert functions_of(error)[-1] == "callback"


@pytest.mark.parametrize(
    "error", [ValueError("my logger is offline\nretry later"), FloatingPointError("mine")]
)
def test_a_callback_is_never_taken_for_a_step_that_failed(error):
    class Logger:
        def __call__(self, training):
            raise error

    with pytest.raises(type(error)) as raised:
        fit(Failing(), epochs=5, callbacks=[Logger()])
    assert raised.value is error
    assert error.__notes__[0].endswith("Logger after step 12")


def test_a_callback_that_raises_at_the_end():
    error = ValueError("mine")
    ended = raising(error, lambda training: training.ended)
    with pytest.raises(ValueError, match="mine"):
        fit(Failing(), epochs=1, callbacks=[ended])
    assert error.__notes__ == ["in the callback raising.<locals>.callback after step 3"]


class Source:
    """Batches of 20 rows, of which one cannot be read."""

    def __init__(self, error, epoch=2, batch=4):
        self.error, self.epoch, self.batch = error, epoch, batch
        self.passes = -1

    def __len__(self):
        return 5

    def __iter__(self):
        self.passes += 1
        for number in range(5):
            if (self.passes, number) == (self.epoch, self.batch - 1):
                raise self.error
            yield torch.randn(20, 4)


@pytest.mark.parametrize("kind", [OSError, ValueError, RuntimeError])
def test_a_loader_that_raises(kind):
    error = kind("one\ntwo")
    with pytest.raises(kind) as raised:
        fit(Failing(), Source(error), epochs=5)
    assert raised.value is error and str(error) == "one\ntwo"
    assert error.__notes__ == ["while reading batch 4 of epoch 3"]


def test_a_loader_that_raises_at_once():
    with pytest.raises(OSError, match="disk") as raised:
        fit(Failing(), Source(OSError("disk"), epoch=0, batch=1), epochs=5)
    assert raised.value.__notes__ == ["while reading the first batch"]


def test_a_schedule_that_raises():
    class Schedule(torch.optim.lr_scheduler.LambdaLR):
        def step(self, *args):
            if self.last_epoch >= 1:
                raise ArithmeticError("mine")
            super().step(*args)

    with pytest.raises(ArithmeticError, match="mine") as raised:
        fit(Failing(), epochs=5, schedule=lambda optim: Schedule(optim, lambda epoch: 0.5))
    assert raised.value.__notes__ == ["in the learning-rate schedule after step 6"]


def test_a_program_that_raises_in_an_evaluation():
    class Evaluated(Failing):
        def model(self, x):
            if len(x) == 30 and self.runs["model"] >= 12:
                raise RuntimeError("mine")
            super().model(x)

    with pytest.raises(RuntimeError) as raised:
        fit(Evaluated(), epochs=5, validation=X[:30])
    assert str(raised.value) == "mine"
    note = "in the evaluation after step 12, on data of shape (30, 4)"
    assert raised.value.__notes__ == [note]


def test_a_state_dict_that_raises(tmp_path):
    class Remembers:
        def __call__(self, training):
            pass

        def state_dict(self):
            raise RuntimeError("mine")

    checkpoint = Checkpoints(tmp_path, seconds=0)
    with pytest.raises(RuntimeError, match="mine") as raised:
        fit(Failing(), epochs=1, callbacks=[Remembers()], checkpoint=checkpoint)
    assert raised.value.__notes__[0].endswith("Remembers.state_dict() after step 1")


def test_an_exception_after_a_broken_step_leaves_the_last_finite_weights():
    pair, source = Failing(), Source(ConnectionError("offline"), epoch=0, batch=3)
    before = pair.encoder.weight.detach().clone()
    with pytest.raises(ConnectionError):
        fit(pair, source, epochs=1, optimizer=breaking_at(2))
    assert torch.equal(pair.encoder.weight, before)


def breaking_at(number):
    """Return the constructor of an optimizer whose steps from `number` on are infinite."""

    class Breaks(torch.optim.SGD):
        taken = 0

        def step(self, closure=None):
            self.taken += 1
            if self.taken >= number:
                for parameter in self.param_groups[0]["params"]:
                    parameter.data.fill_(math.inf)

    return lambda parameters: Breaks(parameters, lr=1.0)


@pytest.mark.parametrize("step", [1, 2])
def test_a_step_that_breaks_the_weights_is_a_divergence(step):
    pair = Failing()
    with pytest.raises(Diverged, match="the last step made parameters NaN or infinite"):
        fit(pair, epochs=1, optimizer=breaking_at(step))
    assert all(bool(p.isfinite().all()) for p in pair.parameters())


def test_data_that_only_the_pair_refuses_are_refused_in_its_words():
    """Compiled code skips checks in Python: its loss is NaN, and then the pair says why."""

    class Checked(Failing):
        def model(self, x):
            if not self.training and self.runs["guide"] >= 3:
                raise Pickled(4, "these data are mine")
            super().model(x)

        def guide(self, x):
            super().guide(x)
            if self.training and self.runs["guide"] >= 3:
                raise FloatingPointError("the loss is nan")

    with pytest.raises(Pickled) as raised:
        fit(Checked(), epochs=1)
    assert raised.value.code == 4
    assert "at step 3, on data of shape (20, 4)" in raised.value.__notes__


def test_checkpoints_with_the_keys_of_0_1_are_read(tmp_path):
    first, second = (nn.Module.train(Failing()) for _ in range(2))
    second.load_state_dict(first.state_dict())
    fit(first, steps=4, checkpoint=Checkpoints(tmp_path))
    checkpoints = Checkpoints(tmp_path)
    state = checkpoints.read()
    state["good"], state["begun"] = state.pop("last_finite"), state.pop("epoch_random_state")
    state["losses"] = [(int(rows), loss) for rows, loss in state["losses"].tolist()]
    state["records"] = as_records(state["records"])
    checkpoints.write(4, state)
    fit(first, steps=9, resume=tmp_path)
    fit(second, steps=9)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
