"""`fit` on pairs and arguments that are out of the ordinary, each with what it must not do."""

import functools
import math

import numpy as np
import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import TraceEnum_ELBO
from pyro.infer.autoguide import AutoNormal
from torch import nn
from torch.distributions import constraints

import ppvae
from ppvae import diagnostics
from ppvae.inference import Diverged, EarlyStopping
from tests.strangers import Marginalized

Y = torch.randn(200, generator=torch.Generator().manual_seed(0)) * 1.5


class Stored:
    """Keeps its parameters in Pyro's store."""

    def model(self, y):
        loc = pyro.param("loc", torch.tensor(0.0))
        with pyro.plate("data", len(y)):
            z = pyro.sample("z", dist.Normal(loc, 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    def guide(self, y):
        scale = pyro.param("scale", torch.tensor(1.0), constraint=constraints.positive)
        with pyro.plate("data", len(y)):
            pyro.sample("z", dist.Normal(y / 2, scale))


def sgd(lr):
    return functools.partial(torch.optim.SGD, lr=lr)


def test_best_weights_of_stored_parameters_come_back():
    seen = []

    def watch(training):
        if not training.ended:
            seen.append(float(pyro.param("loc").detach()))

    # Validation data at 1 and training data at 3: the best moment is on the way.
    ppvae.fit(
        Stored(),
        torch.full((40,), 3.0),
        validation=torch.full((40,), 1.0),
        epochs=40,
        batch_size=4,
        optimizer=sgd(0.003),
        callbacks=[EarlyStopping(patience=3), watch],
    )
    assert float(pyro.param("loc").detach()) in seen[:-1]
    assert float(pyro.param("loc").detach()) != seen[-1]


def test_diverged_training_gives_stored_parameters_back():
    with pytest.raises(Diverged):
        ppvae.fit(Stored(), Y * 1e4, epochs=40, batch_size=4, optimizer=sgd(1e30))
    assert (
        float(pyro.param("loc").detach().abs()) < 1e6 and float(pyro.param("scale").detach()) > 0
    )


def test_schedule_moves_the_rate_of_stored_parameters():
    schedule = functools.partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=4)
    result = ppvae.fit(Stored(), Y, epochs=3, batch_size=20, schedule=schedule)
    assert len(set(result.history.learning_rate.values.tolist())) == 3


@pytest.mark.slow
def test_rows_keep_their_parameters_in_one_batch():
    """A guide with parameters a row, as `AutoNormal` has, meets them in their own order."""

    class Rows:
        def model(self, y):
            with pyro.plate("data", len(y)):
                z = pyro.sample("z", dist.Normal(0.0, 1.0))
                pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    pair = Rows()
    pair.guide = AutoNormal(pair.model, init_scale=0.7)
    pair.guide(Y)
    adam = functools.partial(torch.optim.Adam, lr=0.05)
    ppvae.fit(pair, Y, steps=400, batch_size=len(Y), optimizer=adam)
    assert float(diagnostics.evidence(pair, Y, draws=200).posterior_kl.mean()) < 0.1


def test_history_says_what_evidence_says_of_masks_and_scales():
    class Masked(Stored):
        def model(self, y):
            with pyro.plate("data", len(y)):
                with poutine.mask(mask=torch.arange(len(y)) % 2 == 0):
                    z = pyro.sample("z", dist.Normal(0.0, 1.0))
                pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    with pyro.get_param_store().scope():
        result = ppvae.fit(Masked(), Y, steps=1, batch_size=len(Y), optimizer=sgd(0.0))
        evidence = diagnostics.evidence(Masked(), Y, draws=400)
    gap = float(result.history.train_kl[-1] - evidence.kl.mean())
    assert abs(gap) < 5 * math.sqrt(1 / 200)  # one draw of 200 rows, of variance about 1

    class Weighted(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(1.0))

        def model(self, y):
            with pyro.plate("data", len(y)):
                z = pyro.sample("z", dist.Normal(0.0, 1.0))
                with poutine.scale(scale=10.0):
                    pyro.sample("y", dist.Normal(z, 1.0), obs=y)

        def guide(self, y):
            with pyro.plate("data", len(y)):
                pyro.sample("z", dist.Normal(y / 2, self.scale))

    pair = Weighted()
    result = ppvae.fit(pair, Y, steps=1, batch_size=len(Y), optimizer=sgd(0.0))
    exact = float(diagnostics.evidence(pair, Y, draws=2).kl.mean())
    assert float(result.history.train_kl[-1]) == pytest.approx(exact, rel=1e-5)


def test_weights_that_the_last_step_broke_are_not_called_finished():
    class Breaks(torch.optim.SGD):
        def step(self, closure=None):
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.data.fill_(math.inf)

    pair = Stored()
    with pytest.raises(Diverged) as error:
        ppvae.fit(pair, Y, steps=1, optimizer=functools.partial(Breaks, lr=0.1))
    assert error.value.fit.reason == "diverged"
    assert math.isfinite(float(pyro.param("loc").detach()))


def test_callbacks_hear_of_the_end_of_a_diverged_training():
    ends = []
    with pytest.raises(Diverged):
        ppvae.fit(
            Stored(),
            Y,
            steps=50,
            optimizer=sgd(1e30),
            callbacks=[lambda training: ends.append(training.ended)],
        )
    assert ends[-1] is True


def test_pair_in_evaluation_mode_is_trained_and_given_back_so():
    encoder = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))
    pair = ppvae.VAE(
        ppvae.priors.StandardNormal(2),
        ppvae.likelihoods.Normal(nn.Linear(2, 3), scale=1.0),
        ppvae.posteriors.DiagonalNormal(encoder),
    ).eval()
    ppvae.fit(pair, torch.randn(40, 3), steps=4)
    assert int(encoder[1].num_batches_tracked) == 4
    assert not any(module.training for module in pair.modules())


def test_steps_within_an_epoch_complete_none():
    result = ppvae.fit(Stored(), Y, steps=3, batch_size=20)
    assert result.history.epoch.values.tolist() == [0]


def test_history_keeps_what_all_records_have():
    def add(training):
        if len(training.records) == 1 and not training.ended:
            training.records[0]["mine"] = 1.0

    assert "mine" not in ppvae.fit(Stored(), Y, epochs=2, batch_size=20, callbacks=[add]).history


class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))

    def model(self, y):
        with pyro.plate("data", len(y)):
            z = pyro.sample("z", dist.Normal(y.new_zeros(1), 1.0).to_event(1))
            pyro.sample("y", dist.Normal(z.expand(len(y), 4), 1.0).to_event(1), obs=y)

    def guide(self, y):
        with pyro.plate("data", len(y)):
            pyro.sample("z", dist.Normal(self.encoder(y), 1.0).to_event(1))


class Learned(Marginalized):
    def guide(self, x):
        pyro.param("something", torch.zeros(()))
        super().guide(x)


X = torch.randn(41, 4)
REFUSED = {
    "negative weight": (
        lambda: ppvae.fit(Stored(), Y, kl_weight=lambda step: -1.0),
        "kl_weight is -1.0 at step 0; expected a finite number of at least 0",
    ),
    "NaN weight": (
        lambda: ppvae.fit(Stored(), Y, kl_weight=lambda step: math.nan),
        "kl_weight is nan at step 0",
    ),
    "weight and enumeration": (
        lambda: ppvae.fit(Learned(), Y, objective=TraceEnum_ELBO(), kl_weight=0.5),
        "expected kl_weight=1, got 0.5",
    ),
    "LBFGS": (
        lambda: ppvae.fit(Stored(), Y, optimizer=torch.optim.LBFGS),
        "LBFGS evaluates the loss several times a step",
    ),
    "validation of another width": (
        lambda: ppvae.fit(Wide(), X, validation=X[:, :3]),
        r"(?s)on data of shape \(41, 3\).*\non the validation data$",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_in_one_line(call, message):
    # What a layer of the pair raises is a RuntimeError; what `fit` refuses is a ValueError.
    with pytest.raises((ValueError, RuntimeError), match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_reversed_array_is_read():
    assert ppvae.fit(Stored(), np.arange(40.0)[::-1], steps=1).steps == 1
