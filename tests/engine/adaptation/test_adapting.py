"""Pairs that name things otherwise are measured as those that name them as the engine does."""

import functools
import math
from types import SimpleNamespace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoDiagonalNormal, AutoNormal
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import ppvae
from ppvae import diagnostics
from ppvae.engine import Adapted, Unsupported, adapted, announce, redrawn, seeded
from ppvae.inference import JointOptim

ROWS, FEATURES = 12, 4


class Pair(nn.Module):
    """z ~ N(0, I), x | z ~ N(W z, I), with the plate that a subclass says."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.decoder = nn.Linear(FEATURES, 4), nn.Linear(2, FEATURES)

    def plate(self, x):
        return pyro.plate("data", len(x))

    def prior(self, x):
        return dist.Normal(torch.zeros(2), 1.0).to_event(1)

    def model(self, x):
        with self.plate(x):
            z = pyro.sample("z", self.prior(x))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with self.plate(x):
            loc, scale = self.encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, scale.exp()).to_event(1))


class OfAnotherName(Pair):
    def plate(self, x):
        return pyro.plate("batch", len(x))


class WithoutSize(Pair):
    def plate(self, x):
        return pyro.plate("batch")


class OfGivenRows(Pair):
    def plate(self, x):
        return pyro.plate("batch", 100, subsample=torch.arange(len(x)))


class WithoutPlate(Pair):
    def plate(self, x):
        return pyro.poutine.scale(scale=1.0)

    def prior(self, x):
        return dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(1)


class TwoNames(Pair):
    def model(self, x):
        self.plate = lambda x: pyro.plate("words", len(x))
        super().model(x)

    def guide(self, x):
        self.plate = lambda x: pyro.plate("sentences", len(x))
        super().guide(x)


class InnerData(Pair):
    """The plate over datapoints is outside of a plate that has the engine's name for it."""

    def model(self, x):
        with pyro.plate("batch", len(x), dim=-2):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            with pyro.plate("data", FEATURES, dim=-1):
                pyro.sample("x", dist.Normal(self.decoder(z.squeeze(-2)), 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("batch", len(x), dim=-2):
            loc, scale = (part.unsqueeze(-2) for part in self.encoder(x).chunk(2, -1))
            pyro.sample("z", dist.Normal(loc, scale.exp()).to_event(1))


def rows():
    return torch.randn(ROWS, FEATURES, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "kind", [OfAnotherName, WithoutSize, OfGivenRows, WithoutPlate, TwoNames, InnerData]
)
def test_a_plate_is_found_whatever_its_name(kind):
    x = rows()
    expected = diagnostics.evidence(Pair(), x, draws=30)
    found = diagnostics.evidence(kind(), x, draws=30)
    np.testing.assert_allclose(found.log_evidence, expected.log_evidence, atol=1e-6)
    np.testing.assert_allclose(found.kl, expected.kl, atol=1e-6)
    assert diagnostics.active_units(kind(), x).count == diagnostics.active_units(Pair(), x).count


def test_a_pair_that_needs_nothing_is_left_alone():
    pair, x = Pair(), rows()
    same, (batch,) = adapted(pair, x, split="test")
    assert same is pair
    assert batch.data_ptr() == x.data_ptr()


class Transposed(Pair):
    data_dim = 1

    def plate(self, x):
        return pyro.plate("documents", x.shape[1])

    def model(self, x):
        with self.plate(x):
            z = pyro.sample("z", self.prior(x))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x.T)

    def guide(self, x):
        with self.plate(x):
            loc, scale = self.encoder(x.T).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, scale.exp()).to_event(1))


def test_datapoints_in_another_dimension():
    x = rows()
    expected = diagnostics.evidence(Pair(), x, draws=30)
    found = diagnostics.evidence(Transposed(), x.T.contiguous(), draws=30)
    np.testing.assert_allclose(found.log_evidence, expected.log_evidence, atol=1e-6)
    unsaid = Transposed()
    unsaid.data_dim = 0
    with pytest.raises(Unsupported, match=r"dimension 1 of the data has 12.*pair.data_dim = 1"):
        diagnostics.evidence(unsaid, x.T.contiguous())


def test_which_of_two_plates_has_to_be_said():
    class Two(OfAnotherName):
        def __init__(self, drawn):
            super().__init__()
            self.drawn = drawn

        def model(self, x):
            super().model(x)
            with pyro.plate("others", len(x)):
                pyro.sample("noise", dist.Normal(0.0, 1.0), obs=x[:, 0])

        def guide(self, x):
            super().guide(x)
            if self.drawn:
                with pyro.plate("others", len(x)):
                    pyro.sample("u", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})

    # A plate of both programs comes before one of the model alone.
    assert adapted(Two(False), rows(), split="test")[0].plate.model == "batch"
    pair = Two(True)
    with pytest.raises(Unsupported, match=r"'batch', 'others' both.*pair.data_plate"):
        adapted(pair, rows(), split="test")
    pair.data_plate = "batch"
    assert adapted(pair, rows(), split="test")[0].plate.model == "batch"


class OfManyArguments(Pair):
    """Takes what loops of Pyro pass beside the data, and checks what it gets."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def model(self, x, rest=None, **named):
        self.check(x, rest, named)
        super().model(x)

    def guide(self, x, rest=None, **named):
        self.check(x, rest, named)
        super().guide(x)

    def check(self, x, rest, named):
        if self.kind == "packed":
            assert isinstance(rest, PackedSequence)
            assert torch.equal(pad_packed_sequence(rest, batch_first=True)[0].sum(1), x)
        elif self.kind == "names":
            assert torch.equal(named["x_again"], x)
        elif self.kind == "nested":
            assert torch.equal(rest["again"][0], x)
            assert rest["again"][1] is None
        elif self.kind == "whole":
            assert rest.shape == (7, 3)
        else:
            assert rest is None or rest == 0.5


def beside(kind, x):
    lengths = torch.tensor([3, 1] * (ROWS // 2))
    padded = x.new_zeros(ROWS, 3, FEATURES)
    padded[:, 0] = x
    return {
        "None": (x, None),
        "number": (x, 0.5),
        "nested": (x, {"again": (x, None)}),
        "whole": (x, torch.zeros(7, 3)),
        "packed": (
            x,
            pack_padded_sequence(padded, lengths, batch_first=True, enforce_sorted=False),
        ),
        "names": {"x": x, "x_again": x},
    }[kind]


KINDS = ["None", "number", "nested", "whole", "packed", "names"]


@pytest.mark.parametrize("kind", KINDS)
def test_batches_may_hold_more_than_tensors(kind):
    x = rows()
    expected = diagnostics.evidence(Pair(), x, draws=5, memory=1000)  # rows in chunks
    found = diagnostics.evidence(OfManyArguments(kind), beside(kind, x), draws=5, memory=1000)
    # Rows of other places in memory may differ in the last bit of a product.
    np.testing.assert_allclose(found.log_evidence, expected.log_evidence, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_training_takes_the_same_batches(kind):
    x = rows()
    options = {"epochs": 2, "compile": False}
    expected = ppvae.fit(Pair(), x, batch_size=4, **options).history.train_loss
    pair = OfManyArguments(kind)
    found = ppvae.fit(pair, beside(kind, x), batch_size=4, **options)
    assert found.pair is pair
    np.testing.assert_array_equal(found.history.train_loss, expected)
    streamed = ppvae.fit(OfManyArguments(kind), [beside(kind, x)] * 3, **options)
    assert streamed.steps == 6


def test_batches_of_a_stream_may_differ_in_form():
    x = rows()
    pair = OfManyArguments("None")
    found = ppvae.fit(pair, [(x, 0.5), (x, None)], epochs=1, compile=False)
    expected = ppvae.fit(Pair(), [x, x], epochs=1, compile=False)
    np.testing.assert_array_equal(found.history.train_loss, expected.history.train_loss)


def test_different_numbers_of_rows():
    with pytest.raises(ValueError, match=r"\[12, 11\] rows"):
        diagnostics.evidence(OfLabels(), (rows(), torch.zeros(ROWS - 1)))


class OfLabels(Pair):
    def model(self, x, y):
        super().model(x + 0 * y[:, None])

    def guide(self, x, y):
        super().guide(x)


class Subsampled(Pair):
    """Picks 3 of the datapoints at each run."""

    def model(self, x):
        with pyro.plate("data", len(x), subsample_size=3) as index:
            z = pyro.sample("z", self.prior(x))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x[index])

    def guide(self, x):
        with pyro.plate("data", len(x), subsample_size=3) as index:
            loc, scale = self.encoder(x[index]).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, scale.exp()).to_event(1))


def test_the_loss_of_a_program_that_picks_rows_is_that_of_all():
    x = torch.full((ROWS, FEATURES), 0.3)  # all rows alike, so that none depends on the choice
    options = {
        "steps": 60,
        "batch_size": ROWS,
        "compile": False,
        "optimizer": lambda parameters: torch.optim.SGD(parameters, lr=0.0),
    }
    some = ppvae.fit(Subsampled(), x, **options).history
    expected = ppvae.fit(Pair(), x, **options).history
    loss = SVI(Pair().model, Pair().guide, pyro.optim.Adam({}), Trace_ELBO()).evaluate_loss
    losses = torch.tensor([loss(x) / ROWS for _ in range(60)])
    error = 4 * float(losses.std()) * math.sqrt(ROWS / 3 / 60)
    assert abs(float(some.train_loss[-1]) - float(losses.mean())) < error
    assert float(some.train_kl[-1]) == pytest.approx(float(expected.train_kl[-1]), rel=1e-5)


@pytest.mark.parametrize("count", [ROWS, ROWS - 1])
def test_a_program_that_picks_rows_is_measured_on_all(count):
    x = rows()[:count]
    options = {"draws": 500, "compile": False}
    found = diagnostics.evidence(Subsampled(), x, **options)
    expected = diagnostics.evidence(Pair(), x, **options)
    error = np.hypot(found.elbo_error, expected.elbo_error)
    assert (abs(found.elbo - expected.elbo) < 4.5 * error).all()
    np.testing.assert_allclose(found.kl, expected.kl, atol=1e-6)
    assert diagnostics.active_units(Subsampled(), x).count == 2


# Latents that all datapoints share: mean ~ N(0, 1), z_i ~ N(mean, 1), x_i | z_i ~ N(z_i, 1).


class Shared(nn.Module):
    def model(self, x):
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("people", len(x)):
            z = pyro.sample("z", dist.Normal(mean, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        mean = pyro.sample("mean", dist.Normal(0.5, 0.1))
        with pyro.plate("people", len(x)):
            pyro.sample("z", dist.Normal((x + mean) / 2, 0.5**0.5))


def test_datapoints_are_measured_given_what_they_share():
    x = torch.linspace(-2, 3, ROWS)
    found = diagnostics.evidence(Shared(), x, draws=30, seed=3)
    (mean,) = found.attrs["given mean"]
    exact = dist.Normal(torch.tensor(mean), 2**0.5).log_prob(x)
    # The guide is the posterior given the mean, so that all weights are equal.
    np.testing.assert_allclose(found.log_evidence, exact, atol=1e-5)
    np.testing.assert_allclose(found.posterior_kl, 0, atol=1e-5)
    assert found.attrs["given"] == "mean"
    assert diagnostics.evidence(Shared(), x, seed=4).attrs["given mean"] != mean


def test_shared_latents_are_drawn_anew_from_guide_and_prior():
    x = torch.linspace(-2, 3, ROWS)
    pair, batch = adapted(Shared(), x, split="test")
    for prior, (loc, scale) in ((False, (0.5, 0.1)), (True, (0.0, 1.0))):
        draws = torch.stack(
            [redrawn(pair, batch, seed, prior=prior).shared.given["mean"] for seed in range(100)]
        )
        assert abs(float(draws.mean()) - loc) < 4 * scale / 100**0.5
        assert abs(float(draws.std()) / scale - 1) < 4 / 200**0.5


@pytest.mark.slow
def test_replicates_have_their_own_draw_of_what_they_share():
    x = torch.linspace(-2, 3, ROWS)
    statistic = {"mean": lambda values: values.mean()}
    check = diagnostics.prior_predictive_check(Shared(), x, statistics=statistic, draws=40)
    variance = 1 + 2 / ROWS  # of the shared mean, and of the rows around it; else 2 / ROWS
    assert abs(float(check["mean"].var()) / variance - 1) < 4 * math.sqrt(2 / 40)


@pytest.mark.parametrize("kind", [AutoNormal, AutoDiagonalNormal])
def test_a_pair_without_latents_of_single_datapoints(kind):
    def model(x):
        mean = pyro.sample("mean", dist.Normal(0.0, 10.0))
        with pyro.plate("people", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    pair, x = SimpleNamespace(model=model, guide=kind(model)), torch.linspace(2, 4, ROWS)
    ppvae.fit(pair, x, steps=3, compile=False)
    found = diagnostics.evidence(pair, x, draws=30)
    (mean,) = found.attrs["given mean"]
    exact = dist.Normal(torch.tensor(mean), 1.0).log_prob(x)
    np.testing.assert_allclose(found.log_evidence, exact, atol=1e-5)
    np.testing.assert_array_equal(found.kl, 0)
    with pytest.raises(Unsupported, match="no latent of a single datapoint"):
        diagnostics.active_units(pair, x)


def test_a_guide_that_draws_all_datapoints_together():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        together = dist.Normal(torch.zeros(ROWS), 1.0).to_event(1)
        drawn = pyro.sample("all", together, infer={"is_auxiliary": True})
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(drawn))

    pair = SimpleNamespace(model=model, guide=guide)
    with pytest.raises(Unsupported, match=r"'z' of all datapoints together.*AutoNormal"):
        diagnostics.evidence(pair, torch.zeros(ROWS))


class OfClasses(Pair):
    """Trains a classifier beside the guide, by a factor or by an observed site."""

    def __init__(self, how):
        super().__init__()
        self.how, self.classes = how, nn.Linear(FEATURES, 3)

    def model(self, x, y):
        super().model(x)

    def guide(self, x, y):
        with pyro.plate("data", len(x)):
            loc, scale = self.encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, scale.exp()).to_event(1))
            classes = dist.Categorical(logits=self.classes(x))
            if self.how == "factor":
                pyro.factor("class", -classes.log_prob(y), has_rsample=False)
            else:
                pyro.sample("class", classes, obs=y, infer={"is_auxiliary": True})


@pytest.mark.parametrize("how", ["factor", "observed"])
def test_what_else_a_guide_is_trained_for_is_no_part_of_the_evidence(how):
    x, y = rows(), torch.arange(ROWS) % 3
    found = diagnostics.evidence(OfClasses(how), (x, y), draws=30)
    expected = diagnostics.evidence(Pair(), x, draws=30)
    np.testing.assert_array_equal(found.log_evidence, expected.log_evidence)
    assert found.attrs["left_out_of_guide"] == "class"


@pytest.mark.parametrize("how", ["factor", "observed"])
def test_such_guides_are_trained_as_pyro_trains_them(how):
    x, y = rows(), torch.arange(ROWS) % 3
    fitted, by_hand = OfClasses(how), OfClasses(how)
    ppvae.fit(fitted, (x, y), steps=3, batch_size=ROWS, compile=False)
    optimizer = JointOptim(
        functools.partial(torch.optim.Adam, lr=1e-3), dict(by_hand.named_parameters())
    )

    def announced(program):
        def run(*batch):
            announce(by_hand)
            program(*batch)

        return run

    svi = SVI(announced(by_hand.model), announced(by_hand.guide), optimizer, Trace_ELBO())
    with seeded(0):
        for _ in range(3):
            svi.step(x, y)  # all rows in one batch keep their order
    for name, value in by_hand.named_parameters():
        torch.testing.assert_close(fitted.get_parameter(name), value)


def test_adapted_pairs_are_adapted_once():
    pair, batch = adapted(OfAnotherName(), rows(), split="test")
    assert isinstance(pair, Adapted)
    assert adapted(pair, batch, split="test")[0] is pair
    # Other data are adapted anew.
    assert adapted(pair, rows()[:5], split="test")[0] is not pair
