"""What a callback returns, and in which mode `fit` leaves a pair."""

import io

import numpy as np
import pytest
import torch
from torch import nn

import ppvae
from ppvae import likelihoods, posteriors, priors
from tests.inference.test_fit import rows, small
from tests.marks import slow_but

ACCIDENTS = {
    "a number": lambda training: io.StringIO().write("a line"),
    "an object": lambda training: object(),
    "a dict": lambda training: {}.setdefault(1, {"elbo": 1.0}),
    "a tensor": lambda training: torch.tensor(1.0),
    "a text": lambda training: "True",
    "one": lambda training: 1,
    "a list": lambda training: [True],
    "false": lambda training: np.bool_(False),
}


@pytest.mark.parametrize("callback", slow_but({"a number", "a tensor"}, ACCIDENTS))
def test_what_a_callback_returns_by_accident_does_not_stop(callback):
    fit = ppvae.fit(small(), rows(20), epochs=3, batch_size=2, callbacks=[callback])
    assert (fit.reason, fit.steps) == ("finished", 30)


@pytest.mark.parametrize("returned", [True, np.bool_(True)])
def test_true_stops_and_every_callback_is_called(returned):
    seen = []
    callbacks = [lambda training: returned, lambda training: seen.append(training.step)]
    fit = ppvae.fit(small(), rows(20), epochs=3, batch_size=2, callbacks=callbacks)
    assert (fit.reason, fit.steps, seen) == ("stopped", 10, [10, 10])


def normalized():
    torch.manual_seed(0)
    encoder = nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 4)
    )
    decoder = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 4))
    return ppvae.VAE(
        priors.StandardNormal(2),
        likelihoods.Normal(decoder, scale=1.0),
        posteriors.DiagonalNormal(encoder),
    )


class Plain:
    """A pair that is no module, but holds some."""

    def __init__(self):
        self.inner = normalized()

    def model(self, x):
        return self.inner.model(x)

    def guide(self, x):
        return self.inner.guide(x)


def raising(error):
    def callback(training):
        if not training.ended:
            raise error

    return callback


ENDS = {
    "finished": {},
    "stopped": {"callbacks": [lambda training: True]},
    "interrupted": {"callbacks": [raising(KeyboardInterrupt())]},
    "failed": {"callbacks": [raising(OSError("disk full"))]},
    "diverged": {"optimizer": lambda parameters: torch.optim.SGD(parameters, lr=1e30)},
}


@pytest.mark.parametrize("make", [normalized, Plain])
@pytest.mark.parametrize("options", ENDS.values(), ids=ENDS.keys())
def test_the_pair_is_in_evaluation_mode_however_training_ends(options, make):
    pair, modes = make(), []
    inner = getattr(pair, "inner", pair)
    frozen = inner.posterior.network[1].eval()
    watch = [lambda training: modes.append((inner.training, frozen.training))]
    options = {"epochs": 2, **options, "callbacks": watch + options.get("callbacks", [])}
    try:
        ppvae.fit(pair, rows(60), compile=False, **options)
    except (OSError, ppvae.inference.Diverged):
        pass
    assert modes[0] == (True, False)  # a module that was frozen alone stays so
    assert not any(module.training for module in inner.modules())
    x = rows(9)
    assert torch.equal(inner.encode(x).mean, inner.encode(x).mean)


def test_a_call_that_is_refused_leaves_the_modes():
    pair = normalized()
    with pytest.raises(ValueError, match="not both"):
        ppvae.fit(pair, rows(), epochs=1, steps=1)
    with pytest.raises(ValueError, match="LBFGS"):
        ppvae.fit(pair, rows(), epochs=1, optimizer=torch.optim.LBFGS)
    assert all(module.training for module in pair.modules())
