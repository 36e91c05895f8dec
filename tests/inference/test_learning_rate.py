"""Schedules of learning rate and KL weight: when they are stepped, and whether they fit."""

import functools

import pytest
import torch
from torch.optim import lr_scheduler

import ppvae
from ppvae.inference import CyclicWarmup, EachStep, EarlyStopping, LinearWarmup
from tests.inference.test_fit import rows, same, small, weights_of
from tests.marks import slow_but

ADAM = functools.partial(torch.optim.Adam, lr=1e-2)
STEPS = 24  # of 6 an epoch


def rates(schedule, pair=None, **options):
    options = {"steps": STEPS, "batch_size": 10, "compile": False} | options
    fit = ppvae.fit(pair or small(), rows(60), optimizer=ADAM, schedule=schedule, **options)
    return fit.history.learning_rate.values


def one_cycle(steps):
    return functools.partial(lr_scheduler.OneCycleLR, max_lr=1e-2, total_steps=steps)


def cosine(steps):
    return functools.partial(lr_scheduler.CosineAnnealingLR, T_max=steps)


def warmed(optimizer):
    parts = [lr_scheduler.LinearLR(optimizer, total_iters=4), cosine(STEPS - 4)(optimizer)]
    return lr_scheduler.SequentialLR(optimizer, parts, milestones=[4])


@pytest.mark.parametrize(
    "options",
    [pytest.param({"steps": STEPS}, marks=pytest.mark.slow), {"steps": None, "epochs": 4}],
)
def test_a_schedule_as_long_as_the_steps_ends_with_them(options):
    # The last rates by the schedules' own formulas.
    assert rates(one_cycle(STEPS), **options)[-1] == pytest.approx(1e-2 / 25 / 1e4, rel=1e-6)
    assert rates(cosine(STEPS), **options)[-1] == pytest.approx(0, abs=1e-12)
    assert rates(warmed, **options)[-1] == pytest.approx(0, abs=1e-12)


def test_a_schedule_as_long_as_the_epochs_is_stepped_once_an_epoch():
    expected = [1e-2 * (1 + torch.tensor(torch.pi * k / 4).cos().item()) / 2 for k in (2, 4)]
    assert rates(cosine(4)) == pytest.approx(expected, abs=1e-8)
    assert rates(one_cycle(4))[-1] == pytest.approx(1e-2 / 25 / 1e4, rel=1e-6)


def test_each_step_is_said_explicitly():
    halved = functools.partial(lr_scheduler.ExponentialLR, gamma=0.5)
    assert rates(EachStep(halved)) == pytest.approx([1e-2 / 2**12, 1e-2 / 2**24])
    assert rates(halved) == pytest.approx([1e-2 / 2**2, 1e-2 / 2**4])
    with pytest.raises(TypeError, match="EachStep needs a function or class .* got float"):
        EachStep(0.1)
    plateau = functools.partial(lr_scheduler.ReduceLROnPlateau, patience=1)
    with pytest.raises(ValueError, match="pass it without EachStep"):
        rates(EachStep(plateau), validation=rows(9))


MISFITS = {
    "T_max=400, but this training steps it 4 times, once an epoch; .* every step of 24": cosine(
        400
    ),
    "T_max=10, but this training steps it 24 times, once a step": EachStep(cosine(10)),
    "total_iters=9, but .* 4 times": functools.partial(lr_scheduler.LinearLR, total_iters=9),
    "first milestone =30, but": functools.partial(lr_scheduler.MultiStepLR, milestones=[30, 40]),
    "total_size=4000.*but": functools.partial(lr_scheduler.CyclicLR, base_lr=0.1, max_lr=1.0),
}


@pytest.mark.parametrize(("message", "schedule"), MISFITS.items())
def test_a_length_that_fits_nothing_is_said_before_training(message, schedule):
    with pytest.raises(UserWarning, match=message):
        rates(schedule)


def test_a_schedule_that_would_end_the_training_is_refused_before_it():
    pair = small()
    before = weights_of(pair)
    with pytest.raises(ValueError, match="OneCycleLR has total_steps=10, but .* 24 times"):
        rates(EachStep(one_cycle(10)), pair)
    assert same(before, weights_of(pair))


@pytest.mark.parametrize("compile_from", slow_but({None}, [None, 2]))
def test_a_schedule_of_steps_resumes_within_an_epoch(compile_from, tmp_path, monkeypatch):
    from ppvae.engine.compilation import replay

    monkeypatch.setattr("ppvae.inference.training.generate", replay)
    choice = {"compile": compile_from is not None, "compile_from": compile_from}
    whole, stopped, resumed = small(), small(), small()
    expected = rates(one_cycle(STEPS), whole, **choice)
    with pytest.warns(UserWarning, match="is stepped|steps it"):
        rates(EachStep(one_cycle(STEPS)), stopped, steps=9, checkpoint=tmp_path, **choice)
    got = rates(one_cycle(STEPS), resumed, resume=tmp_path, **choice)
    assert same(weights_of(whole), weights_of(resumed))
    assert got[-1] == expected[-1]


@pytest.mark.parametrize("warmup", [LinearWarmup(40), CyclicWarmup(10, cycles=4)])
def test_a_warmup_longer_than_the_training_is_said(warmup):
    with pytest.raises(UserWarning, match=f"{type(warmup).__name__} of 40 steps, .* has 24"):
        rates(None, kl_weight=warmup)


WARMUPS = {
    "linear": {"kl_weight": LinearWarmup(60)},
    "cyclic": {"kl_weight": CyclicWarmup(30, cycles=2, rise=0.1)},
    "unknown": {"kl_weight": lambda step: min(1.0, step / 60)},
    "rate": {"schedule": EachStep(functools.partial(lr_scheduler.LinearLR, total_iters=60))},
}


@pytest.mark.parametrize("options", slow_but({"cyclic"}, WARMUPS))
def test_early_stopping_waits_for_the_end_of_a_warmup(options):
    def falling(training):
        training.records[-1]["validation_elbo"] = -float(training.step)

    fit = ppvae.fit(
        small(),
        rows(40),
        validation=rows(9),
        steps=130,
        batch_size=4,
        callbacks=[falling, EarlyStopping(patience=3)],
        compile=False,
        **options,
    )
    # An evaluation after each 10 steps: three of them after the warm-up.
    assert fit.reason == "stopped" and 80 <= fit.steps <= 100
