"""The default training of a dataset, its learning rate, and the weights that it keeps."""

import functools
import math

import pytest
import torch
from torch.distributions import constraints

import ppvae
from ppvae.data import split
from ppvae.inference import CosineDecay, EarlyStopping
from tests.inference.test_fit import rows, same, small, weights_of

ADAM = functools.partial(torch.optim.Adam, lr=1e-2)


def curve(step, steps, rate=1e-2):
    return rate * (1 + math.cos(math.pi * step / steps)) / 2


def rates(x, **options):
    options = {"optimizer": ADAM, "schedule": CosineDecay, "compile": False} | options
    return ppvae.fit(small(), x, **options).history.learning_rate.values


class Unknown:
    """Batches, of which it is not known how many there are."""

    def __iter__(self):
        return iter([rows(6)] * 6)


def test_cosine_decay_falls_to_0_over_the_whole_training():
    per_step = [curve(step, 24) for step in (10, 20, 24)]
    assert rates(rows(60), epochs=12, batch_size=30) == pytest.approx(per_step, abs=1e-12)
    assert rates(rows(60), steps=24, batch_size=30) == pytest.approx(per_step, abs=1e-12)
    assert rates(Unknown(), steps=12) == pytest.approx([0], abs=1e-12)
    assert rates(Unknown(), epochs=2) == pytest.approx([0], abs=1e-12)


def test_a_longer_training_goes_on_along_the_curve_of_its_length(tmp_path):
    options = {"batch_size": 6, "optimizer": ADAM, "schedule": CosineDecay, "compile": False}
    ppvae.fit(small(), rows(60), epochs=2, checkpoint=tmp_path, **options)
    longer = ppvae.fit(small(), rows(60), epochs=4, resume=tmp_path, **options)
    expected = [curve(10, 20), curve(20, 20), curve(30, 40), curve(40, 40)]
    assert longer.history.learning_rate.values == pytest.approx(expected, abs=1e-12)


def test_cosine_decay_that_does_not_know_its_length_says_so():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = CosineDecay(optimizer)
    optimizer.step()
    with pytest.raises(ValueError, match="does not know how many steps it falls over"):
        schedule.step()
    with pytest.raises(ValueError, match="CosineDecay needs steps >= 1, got 0"):
        CosineDecay(optimizer, steps=0)


def test_a_dataset_gets_the_default_training():
    dataset = split("numbers", rows(40), constraints.real)
    plain, told, other = small(), small(), small()
    fit = ppvae.fit(plain, dataset, compile=False)
    adam = functools.partial(torch.optim.Adam, lr=3e-3)
    explicit = {"optimizer": adam, "schedule": CosineDecay, "epochs": 100, "compile": False}
    ppvae.fit(told, dataset, callbacks=[EarlyStopping(50)], **explicit)
    assert same(weights_of(plain), weights_of(told))
    assert fit.history.learning_rate[-1] == pytest.approx(0, abs=1e-12)
    assert fit.reason == "finished"  # few validation rows do not stop it
    # What is given wins: a length alone, as before, is trained with a constant rate.
    constant = ppvae.fit(other, dataset, epochs=1, compile=False)
    assert set(constant.history.learning_rate.values) == {1e-3} and constant.kept_step is None


@pytest.mark.slow
def test_the_best_weights_are_kept_without_stopping_and_a_fit_says_so():
    seen, pair, x = [], small(), rows(40)
    script = iter([-5.0, -3.0, -4.0, -4.5, -4.6])

    def fake(training):
        if not training.ended:
            training.records[-1]["validation_elbo"] = next(script)
            seen.append(weights_of(pair))

    def fit(patience):
        return ppvae.fit(
            pair,
            x,
            epochs=4,
            batch_size=4,
            validation=x,
            callbacks=[fake, EarlyStopping(patience)],
            compile=False,
        )

    whole = fit(None)
    assert (whole.reason, whole.steps, whole.kept_step) == ("finished", 40, 20)
    assert same(weights_of(pair), seen[1])
    assert "-3.00 on validation data" in str(whole)
    assert "in nats per datapoint; the best weights, of step 20" in str(whole)
    script = iter([-5.0, -3.0, -4.0, -4.5])
    stopped = fit(2)
    assert (stopped.reason, stopped.steps, stopped.kept_step) == ("stopped", 40, 20)
    expected = "stopped early: the validation ELBO did not rise in 2 evaluations"
    assert stopped.convergence == expected


def test_weights_are_the_last_ones_where_they_are_the_best():
    x, pair = rows(40), small()
    stopping = [EarlyStopping(None)]
    fit = ppvae.fit(pair, x, epochs=2, batch_size=4, validation=x, callbacks=stopping)
    assert fit.kept_step == 20 and "the best weights, of step 20" in str(fit)
