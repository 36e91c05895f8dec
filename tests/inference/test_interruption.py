"""Signals end a training after the step under way, and nothing of it is lost."""

import contextlib
import signal
import threading

import pytest
import torch
from torch import nn

import ppvae
from ppvae import likelihoods, posteriors, priors
from ppvae.inference import Checkpoints, Terminated
from ppvae.inference.interruption import Interruption

X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))


DEFAULT = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}


@contextlib.contextmanager
def handled(others=None):
    """Have Python's handlers inside the block, or others: tests may run under nohup."""
    chosen = DEFAULT | (others or {})
    before = {number: signal.signal(number, handler) for number, handler in chosen.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def handlers_of_python():
    with handled():
        yield


def handlers():
    return [signal.getsignal(number) for number in (*DEFAULT, signal.SIGCHLD)]


def trained(weight=lambda step: 1.0, **options):
    torch.manual_seed(0)
    pair = ppvae.VAE(
        priors.StandardNormal(1),
        likelihoods.Normal(nn.Linear(1, 6)),
        posteriors.DiagonalNormal(nn.Linear(3, 2)),
    )
    options = {"steps": 12, "batch_size": 8, "compile": False, **options}
    fit = ppvae.fit(pair, X, kl_weight=weight, **options)
    return fit, torch.cat([p.detach().flatten() for p in pair.parameters()])


class Asking:
    """A KL weight that sends signals to this process, in a step."""

    def __init__(self, step, *numbers):
        self.step, self.numbers = step, numbers

    def __call__(self, step):
        if step == self.step:
            for number in self.numbers:
                signal.raise_signal(number)
        return 1.0


@pytest.fixture(scope="module")
def whole():
    return trained()


MOMENTS = {
    "within an epoch": (signal.SIGINT, 7),
    "at the end of an epoch": (signal.SIGTERM, 9),
    "at the last step": (signal.SIGHUP, 11),
}


@pytest.mark.parametrize(("number", "step"), MOMENTS.values(), ids=MOMENTS.keys())
def test_a_signal_ends_a_training_after_its_step(number, step, whole, tmp_path):
    before = handlers()
    checkpoints, asking = Checkpoints(tmp_path), Asking(step, number)
    if number == signal.SIGINT:
        fit, _ = trained(asking, checkpoint=checkpoints)
    else:
        with pytest.raises(Terminated) as terminated:
            trained(asking, checkpoint=checkpoints)
        assert terminated.value.code == 128 + number
        fit = terminated.value.fit
    assert (fit.reason, fit.steps, checkpoints.step) == ("interrupted", step + 1, step + 1)
    assert handlers() == before and [*tmp_path.iterdir()] == [*tmp_path.glob("checkpoint-*")]
    fit, weights = trained(resume=tmp_path)
    assert fit.reason == "finished" and torch.equal(weights, whole[1])
    assert fit.history.drop_vars("seconds").identical(whole[0].history.drop_vars("seconds"))


def test_a_signal_in_the_last_evaluation_is_not_lost(tmp_path):
    def asking(training):
        if training.step == 12 and not training.ended:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Terminated) as terminated:
        trained(checkpoint=tmp_path, callbacks=[asking])
    assert terminated.value.fit.reason == "interrupted"
    assert Checkpoints(tmp_path).step == terminated.value.fit.steps == 12


def test_a_second_signal_ends_at_once(tmp_path):
    asking = Asking(7, signal.SIGTERM, signal.SIGINT)
    with pytest.raises(Terminated) as terminated:
        trained(asking, checkpoint=tmp_path)
    # The step was not finished: there is no consistent state to save.
    assert terminated.value.fit.steps == 7 and not Checkpoints(tmp_path).exists


def test_handlers_of_the_user_stay():
    seen = []
    of_user = {
        signal.SIGTERM: lambda number, _: seen.append(number),
        signal.SIGHUP: signal.SIG_IGN,
    }
    with handled(of_user):
        before = handlers()
        fit, _ = trained(Asking(3, signal.SIGTERM, signal.SIGHUP))
        assert handlers() == before
    assert (fit.reason, fit.steps, seen) == ("finished", 12, [signal.SIGTERM])


def test_another_thread_trains_without_handlers():
    before, seen = handlers(), []

    def enter():
        with Interruption() as interruption:
            seen.append((handlers() == before, interruption.asked))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [(True, False)]


def test_workers_of_a_loader_that_the_signal_has_ended_are_no_failure():
    def failed(number, frame):
        raise RuntimeError("a worker was killed")

    with handled({signal.SIGCHLD: failed}):
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGCHLD)
        assert interruption.asked and signal.getsignal(signal.SIGCHLD) is failed
