"""`fit`: what it promises beside a falling loss."""

import functools
import math
import random
from typing import ClassVar

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

import ppvae
from ppvae import data, likelihoods, networks, pairs, posteriors, priors
from ppvae.inference import CyclicWarmup, Diverged, EarlyStopping, LinearWarmup
from tests.guards import random_states
from tests.linear_gaussian import LinearGaussian


def small(features=4):
    torch.manual_seed(3)
    return ppvae.VAE(
        prior=priors.StandardNormal(2),
        likelihood=likelihoods.Normal(nn.Linear(2, features), scale=likelihoods.LearnedScale()),
        posterior=posteriors.DiagonalNormal(networks.MLP(features, 4, hidden=[8])),
    )


def rows(n=60, features=4, seed=1):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(features, features, generator=generator)
    return torch.randn(n, features, generator=generator) @ mixing


def weights_of(pair):
    return {name: p.detach().clone() for name, p in pair.named_parameters()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


@pytest.mark.slow
def test_loss_falls_and_history_says_so():
    fit = ppvae.fit(small(), rows(), epochs=40, batch_size=6, validation=rows(seed=1)[:20])
    history = fit.history
    assert (fit.steps, fit.reason) == (400, "finished")
    assert history.sizes == {"step": 40}
    assert list(history.epoch.values) == list(range(1, 41))
    for split in ("train", "validation"):
        elbo = history[f"{split}_elbo"]
        assert float(elbo[-5:].mean()) > float(elbo[:5].mean())
        difference = history[f"{split}_reconstruction"] - history[f"{split}_kl"]
        assert np.allclose(elbo, difference)
    assert history.attrs["units"] == "nats per datapoint"


def test_history_is_per_datapoint_in_nats():
    # With the exact posterior every draw's ELBO is log p(x), so all that is recorded is known.
    case = LinearGaussian.random(1, orthogonal=True, perturbation=0)
    x = case.draw(32, seed=2)
    fit = ppvae.fit(
        case.pair(),
        x,
        steps=1,
        validation=x[:8],
        optimizer=functools.partial(torch.optim.SGD, lr=0.0),
    )
    exact = case.terms(x)
    last = fit.history.isel(step=-1)
    assert float(last.train_loss) == pytest.approx(-exact["elbo"].mean().item(), abs=1e-6)
    assert float(last.validation_loss) == pytest.approx(-exact["elbo"][:8].mean().item(), abs=1e-6)
    assert float(last.train_kl) == pytest.approx(exact["kl"].mean().item(), abs=1e-6)


class Scaled(nn.Module):
    """One pair under different plates and scales: the per-datapoint numbers must not notice."""

    def __init__(self, size, scale):
        super().__init__()
        self.size, self.scale = size, scale
        self.loc = nn.Parameter(torch.zeros(()))

    def model(self, x):
        with pyro.plate("data", self.size or len(x), subsample_size=len(x)):
            with pyro.poutine.scale(scale=self.scale):
                z = pyro.sample("z", dist.Normal(0.0, 1.0))
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", self.size or len(x), subsample_size=len(x)):
            with pyro.poutine.scale(scale=self.scale):
                pyro.sample("z", dist.Normal(x / 2 + self.loc * 0, math.sqrt(0.5)))


@pytest.mark.parametrize(("size", "scale"), [(None, 1.0), (640, 1.0), (None, 1 / 64), (640, 0.5)])
def test_plate_and_scale_do_not_show_in_history(size, scale):
    x = torch.linspace(-2, 2, 30)
    fit = ppvae.fit(Scaled(size, scale), x, epochs=1, batch_size=20, validation=x)
    exact = torch.distributions.Normal(0.0, math.sqrt(2)).log_prob(x).mean().item()
    for name, sign in (("train_loss", -1), ("validation_loss", -1), ("validation_elbo", 1)):
        assert float(fit.history[name][-1]) == pytest.approx(sign * exact, abs=1e-5), name


def test_same_seed_same_result_bit_for_bit():
    first, second, third = small(), small(), small()
    torch.rand(5)
    one = ppvae.fit(first, rows(), epochs=3, batch_size=16, seed=4)
    torch.rand(7)
    two = ppvae.fit(second, rows(), epochs=3, batch_size=16, seed=4, validation=rows(9))
    ppvae.fit(third, rows(), epochs=3, batch_size=16, seed=5)
    # Validation between the steps makes no difference either.
    assert same(weights_of(first), weights_of(second))
    assert one.history.train_elbo.equals(two.history.train_elbo)
    assert not same(weights_of(first), weights_of(third))


def test_random_state_is_left_as_found():
    pair, x = small(), rows()
    random.random(), np.random.rand(), torch.rand(3)
    before = random_states()
    ppvae.fit(pair, x, epochs=1)
    assert random_states() == before


def test_evaluation_moves_no_weight():
    pair, before = small(), []

    def watch(training):
        before.append(weights_of(pair))

    fit = ppvae.fit(
        pair,
        rows(),
        epochs=12,
        batch_size=6,
        validation=rows(20),
        callbacks=[watch],
        optimizer=functools.partial(torch.optim.Adam, lr=0.0),
    )
    assert fit.steps == 120
    assert same(before[0], weights_of(small()))
    assert same(before[-1], before[0])


def test_two_hand_written_steps_of_pyro_are_the_same():
    x, fitted, byhand = rows(20), small(), small()
    ppvae.fit(
        fitted,
        x,
        steps=2,
        batch_size=20,
        optimizer=functools.partial(torch.optim.Adam, lr=0.1),
        seed=0,
    )
    optim = pyro.optim.Adam({"lr": 0.1})
    svi = pyro.infer.SVI(byhand.model, byhand.guide, optim, Trace_ELBO())
    with ppvae.engine.isolation.seeded(0):
        for _ in range(2):
            svi.step(x)  # all rows in one batch keep their order
    for name, value in weights_of(byhand).items():
        assert torch.allclose(value, weights_of(fitted)[name], atol=1e-6), name


def test_keyboard_interrupt_keeps_everything_so_far():
    pair, kept = small(), []

    def interrupt(training):
        if not training.ended and training.epoch == 3:
            kept.append(weights_of(pair))
            raise KeyboardInterrupt

    fit = ppvae.fit(pair, rows(), epochs=50, batch_size=6, callbacks=[interrupt])
    assert (fit.reason, fit.steps) == ("interrupted", 30)
    assert fit.history.sizes["step"] == 3
    assert same(weights_of(pair), kept[0])
    assert all(p.grad is None for p in pair.parameters())


def test_divergence_names_step_and_site_and_keeps_good_weights():
    pair = small()
    with pytest.raises(
        Diverged, match=r"step \d+: .* at site '[xz]' (is NaN|lies between).*learning rate"
    ) as error:
        ppvae.fit(
            pair,
            3 * rows(),
            epochs=30,
            batch_size=6,
            optimizer=functools.partial(torch.optim.SGD, lr=1e5),
        )
    assert error.value.fit.pair is pair
    assert error.value.fit.reason == "diverged"
    assert all(bool(p.isfinite().all()) for p in pair.parameters())
    loss = Trace_ELBO().loss(pair.model, pair.guide, 3 * rows())
    assert math.isfinite(loss)


class ScaleOfZero(nn.Module):
    """A guide whose scale underflows to 0, unlike those of this library."""

    def __init__(self):
        super().__init__()
        self.raw = nn.Parameter(torch.tensor(-200.0))

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x[:, 0])

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x[:, 0], nn.functional.softplus(self.raw)))


def test_start_that_is_not_finite_is_refused_by_site():
    with pytest.raises(ValueError, match="scale of Normal at site 'z' .* outside"):
        ppvae.fit(ScaleOfZero(), rows(), epochs=1)


def test_data_of_another_unit_can_be_started_with():
    assert ppvae.fit(small(), 1e4 * rows(), epochs=1).steps == 1


class NaNGradient(nn.Module):
    """A finite loss whose gradient is not: the square root of 0."""

    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(()))

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x + (self.loc**2).sqrt(), 1.0))


def test_gradient_that_is_not_finite_moves_nothing():
    pair = NaNGradient()
    with pytest.raises(Diverged, match="the gradient is NaN or infinite"):
        ppvae.fit(pair, rows()[:, 0], steps=3)
    assert pair.loc.item() == 0


def test_data_outside_the_support_are_refused_by_site():
    pair = pairs.assemble(data.digits(), latent=2)
    with pytest.raises(ValueError, match="10 observations of site 'x' lie outside .* of Binomial"):
        ppvae.fit(pair, torch.full((10, 64), 0.5))


def test_early_stopping_restores_the_best_weights():
    x, best, pair = rows(40), [], small()
    script = iter([-5.0, -3.0, -4.0, -3.5, -3.2, -1.0])

    def fake(training):  # before EarlyStopping looks
        if not training.ended:
            training.records[-1]["validation_elbo"] = next(script)
            best.append(weights_of(pair))

    stopping = EarlyStopping(patience=3)
    fit = ppvae.fit(pair, x, epochs=60, batch_size=4, validation=x, callbacks=[fake, stopping])
    assert (fit.reason, fit.steps) == ("stopped", 50)
    assert same(weights_of(pair), best[1])


def test_early_stopping_restores_the_best_weights_of_a_finished_training():
    x, seen, pair = rows(40), [], small()
    script = iter([-5.0, -3.0, -4.0])

    def fake(training):
        if not training.ended:
            training.records[-1]["validation_elbo"] = next(script)
            seen.append(weights_of(pair))

    stopping = EarlyStopping(patience=9)
    fit = ppvae.fit(pair, x, epochs=3, batch_size=4, validation=x, callbacks=[fake, stopping])
    assert fit.reason == "finished"
    assert same(weights_of(pair), seen[1])


def test_early_stopping_needs_validation():
    with pytest.raises(ValueError, match="EarlyStopping needs validation data"):
        ppvae.fit(small(), rows(), epochs=1, callbacks=[EarlyStopping()])


def test_learning_rate_schedules():
    fit = ppvae.fit(
        small(),
        rows(),
        epochs=3,
        batch_size=6,
        optimizer=functools.partial(torch.optim.Adam, lr=0.5**7),
        schedule=functools.partial(ExponentialLR, gamma=0.5),
    )
    assert list(fit.history.learning_rate) == [0.5**8, 0.5**9, 0.5**10]
    plateau = functools.partial(ReduceLROnPlateau, patience=0, threshold=1e9)
    fit = ppvae.fit(small(), rows(), epochs=4, batch_size=6, validation=rows(5), schedule=plateau)
    assert float(fit.history.learning_rate[-1]) < 1e-3
    with pytest.raises(ValueError, match="ReduceLROnPlateau needs validation data"):
        ppvae.fit(small(), rows(), epochs=1, schedule=plateau)


@pytest.mark.parametrize("objective", [Trace_ELBO, TraceMeanField_ELBO])
def test_kl_weight_scales_the_kl_alone(objective):
    # Of a pair whose reconstruction does not depend on the guide, only the KL has a gradient
    # there: at half the weight it is half as large.
    gradients = []
    for weight in (1.0, 0.5):
        pair = small()
        with torch.no_grad():
            pair.likelihood.network.weight.zero_()
        before = weights_of(pair)
        sgd = functools.partial(torch.optim.SGD, lr=1e-3)
        ppvae.fit(pair, rows(), steps=1, objective=objective(), kl_weight=weight, optimizer=sgd)
        after = weights_of(pair)
        name = "posterior.network.layers.0.weight"
        gradients.append(after[name] - before[name])
        assert bool((gradients[-1] != 0).any())
    assert torch.allclose(gradients[1], gradients[0] / 2, rtol=1e-3, atol=1e-7)


def test_kl_weight_follows_its_schedule_and_validation_does_not():
    fit = ppvae.fit(
        small(),
        rows(),
        epochs=4,
        batch_size=6,
        validation=rows(20),
        kl_weight=LinearWarmup(steps=20),
        optimizer=functools.partial(torch.optim.SGD, lr=0.0),
    )
    # The weight of the last step of each epoch: steps 9, 19, 29, 39.
    assert np.allclose(fit.history.kl_weight, [0.45, 0.95, 1, 1])
    assert np.allclose(fit.history.validation_loss, float(fit.history.validation_loss[0]))


def test_schedules_of_the_kl_weight():
    cyclic = CyclicWarmup(steps=10, cycles=2, rise=1.0, start=0.2)
    assert [cyclic(step) for step in (0, 5, 10, 15, 20, 99)] == pytest.approx(
        [0.2, 0.6, 0.2, 0.6, 1, 1]
    )
    warmup = LinearWarmup(steps=4, start=0.5)
    assert [warmup(step) for step in (0, 2, 4, 5)] == [0.5, 0.75, 1, 1]


def test_clipping_bounds_the_whole_gradient():
    def moved(clip_norm):
        pair = small()
        before = weights_of(pair)
        sgd = functools.partial(torch.optim.SGD, lr=1e-3)
        ppvae.fit(pair, rows(), steps=1, optimizer=sgd, clip_norm=clip_norm)
        after = weights_of(pair)
        return torch.cat([(after[name] - before[name]).reshape(-1) for name in before])

    full, clipped = moved(None), moved(0.01)
    assert clipped.norm().item() == pytest.approx(1e-5, rel=1e-2)
    assert torch.allclose(clipped / clipped.norm(), full / full.norm(), atol=1e-2)
    assert torch.equal(moved(1e9), full)


def test_data_loader_and_list_of_batches():
    x = rows(50)
    loader = DataLoader(TensorDataset(x), batch_size=20, shuffle=True)
    first, second = small(), small()
    fits = [
        ppvae.fit(pair, loader, epochs=4, validation=x[:5], seed=1) for pair in (first, second)
    ]
    assert (fits[0].steps, fits[0].history.sizes["step"]) == (12, 1)
    assert same(weights_of(first), weights_of(second))
    assert ppvae.fit(small(), list(x.split(20)), epochs=2).steps == 6


def test_tuple_of_tensors_reaches_the_model_together():
    class Conditional(NaNGradient):
        def model(self, x, y):
            assert torch.equal(x[:, 0], y.to(x.dtype))
            super().model(x[:, 1])

        def guide(self, x, y):
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(x[:, 1] + self.loc, 1.0))

    y = torch.arange(30)
    x = torch.stack([y.float(), torch.randn(30)], 1)
    assert ppvae.fit(Conditional(), (x, y), epochs=2, batch_size=7).steps == 10


class Unannounced(nn.Module):
    """A stranger's nn.Module that tells Pyro nothing of its parameters."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(4, 2), nn.Linear(1, 4)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            loc, scale = self.encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, scale.exp()).to_event(1))


class Registered(Unannounced):
    """One that registers them under fixed names, as Pyro's tutorials do."""

    def model(self, x):
        pyro.module("decoder", self.decoder)
        super().model(x)

    def guide(self, x):
        pyro.module("encoder", self.encoder)
        super().guide(x)


@pytest.mark.slow
@pytest.mark.parametrize("stranger", [Unannounced, Registered])
def test_every_parameter_of_a_stranger_trains_in_a_second_pair_too(stranger):
    for _ in range(2):
        pair = stranger()
        before = weights_of(pair)
        fit = ppvae.fit(pair, rows(), epochs=30, batch_size=6)
        assert float(fit.history.train_elbo[-1]) > float(fit.history.train_elbo[0])
        for name, value in weights_of(pair).items():
            assert not torch.equal(value, before[name]), name


class Stored:
    """A stranger without nn.Module: its parameters live in Pyro's store, one of them positive."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(pyro.param("loc", torch.tensor(0.0)), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        slope = pyro.param("slope", torch.tensor(0.1))
        scale = pyro.param("scale", torch.tensor(1.0), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            loc = pyro.param("loc", torch.tensor(0.0))
            pyro.sample("z", dist.Normal(loc + slope * (x - loc), scale))


@pytest.mark.slow
def test_parameters_in_the_store_train_to_their_optimum():
    x = 3.0 + math.sqrt(2) * torch.randn(4000)
    adam = functools.partial(torch.optim.Adam, lr=0.02)
    ppvae.fit(Stored(), x, epochs=40, batch_size=200, optimizer=adam)
    store = pyro.get_param_store()
    assert sorted(store.keys()) == ["loc", "scale", "slope"]
    # z ~ N(loc, 1), x | z ~ N(z, 1): loc = mean of x, slope = 1/2, scale^2 = 1/2.
    assert pyro.param("loc").item() == pytest.approx(x.mean().item(), abs=0.1)
    assert pyro.param("slope").item() == pytest.approx(0.5, abs=0.05)
    assert pyro.param("scale").item() == pytest.approx(math.sqrt(0.5), abs=0.05)


class GlobalLatent:
    """x ~ N(m, 1) with one m ~ N(0, 1) for all data: the plate's size weighs the rows."""

    def model(self, x):
        m = pyro.sample("m", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 200, subsample_size=len(x)):
            pyro.sample("x", dist.Normal(m, 1.0), obs=x)

    def guide(self, x):
        loc = pyro.param("loc", torch.tensor(0.0))
        scale = pyro.param("scale", torch.tensor(1.0), constraint=dist.constraints.positive)
        pyro.sample("m", dist.Normal(loc, scale))


@pytest.mark.slow
def test_global_latent_trains_to_the_conjugate_posterior():
    x = 2 + torch.randn(200)
    adam = functools.partial(torch.optim.Adam, lr=0.05, betas=(0.9, 0.95))
    decay = functools.partial(ExponentialLR, gamma=0.98)
    many = Trace_ELBO(num_particles=20, vectorize_particles=True)
    fit = ppvae.fit(
        GlobalLatent(),
        x,
        epochs=200,
        batch_size=50,
        objective=many,
        optimizer=adam,
        schedule=decay,
    )
    assert pyro.param("loc").item() == pytest.approx(x.sum().item() / 201, abs=0.03)
    assert pyro.param("scale").item() == pytest.approx(201**-0.5, rel=0.15)
    # Per datapoint: a 200th of log p(x_1, ..., x_200).
    covariance = torch.eye(200) + torch.ones(200, 200)
    exact = torch.distributions.MultivariateNormal(torch.zeros(200), covariance).log_prob(x) / 200
    assert float(fit.history.train_elbo[-20:].mean()) == pytest.approx(exact.item(), abs=0.01)


class Enumerated(nn.Module):
    """k in {0, 1}, x | k ~ N(loc_k, 1), k summed out."""

    infer: ClassVar[dict[str, str]] = {"enumerate": "parallel"}

    def __init__(self):
        super().__init__()
        self.locs = nn.Parameter(torch.tensor([-0.5, 0.5]))

    def model(self, x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(torch.ones(2)), infer=self.infer)
            pyro.sample("x", dist.Normal(self.locs[k], 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pass


class Unannotated(Enumerated):
    infer: ClassVar[dict[str, str]] = {}


@pytest.mark.parametrize("objective", [None, TraceEnum_ELBO(max_plate_nesting=1)])
def test_latent_that_the_model_asks_to_enumerate_is_summed_out(objective):
    x = torch.cat([torch.randn(300) - 3, torch.randn(300) + 3])
    pair = Enumerated()
    adam = functools.partial(torch.optim.Adam, lr=0.1)
    ppvae.fit(pair, x, epochs=20, objective=objective, optimizer=adam)
    assert torch.allclose(pair.locs, torch.tensor([-3.0, 3.0]), atol=0.3)


def test_latent_that_only_the_model_has_is_refused():
    pair, x = Unannotated(), torch.randn(30)
    with pytest.raises(ValueError, match="'k' of the model is missing from the guide.*TraceEnum"):
        ppvae.fit(pair, x, epochs=1)


def test_numpy_data_and_pyro_optim():
    x = rows().double().numpy()
    x.flags.writeable = False
    assert ppvae.fit(small(), x, steps=2, optimizer=pyro.optim.Adam({"lr": 0.01})).steps == 2


@pytest.mark.slow
def test_progress_bar_only_on_request(capsys):
    ppvae.fit(small(), rows(), epochs=2)
    assert capsys.readouterr().err == ""
    ppvae.fit(small(), rows(), epochs=60, batch_size=6, progress=True)
    shown = capsys.readouterr().err
    assert "samples/s" in shown and "loss=" in shown


class NoParameters:
    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x, 1.0))


class GuideForgets(Unannounced):
    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("w", dist.Normal(self.encoder(x)[:, :1], 1.0).to_event(1))


WRONG = {
    "nan": ({"data": torch.tensor([[math.nan] * 4] * 3)}, ValueError, "12 NaN or infinite"),
    "inf in validation": (
        {"validation": torch.full((3, 4), math.inf)},
        ValueError,
        "validation holds 12 NaN or infinite",
    ),
    "empty": ({"data": torch.zeros(0, 4)}, ValueError, "at least one datapoint"),
    "one row": ({"data": torch.zeros(1, 4)}, ValueError, "1 row; training needs at least 2"),
    "rank": ({"data": torch.zeros(10)}, ValueError, "on data of shape .10,."),
    "width": ({"data": torch.zeros(10, 5)}, ValueError, "on data of shape .10, 5."),
    "large batch": ({"batch_size": 61}, ValueError, "between 1 and the 60 rows.*got 61"),
    "no batch": ({"batch_size": 0}, ValueError, "between 1 and the 60 rows.*got 0"),
    "epochs and steps": ({"steps": 3, "epochs": 3}, ValueError, "not both; got 3 and 3"),
    "no epochs": ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
    "negative steps": ({"steps": -1}, ValueError, "steps must be at least 1, got -1"),
    "weight": ({"kl_weight": -0.1}, ValueError, "kl_weight is -0.1; expected a finite number"),
    "clip": ({"clip_norm": 0.0}, ValueError, "clip_norm must be positive, got 0.0"),
    "text": ({"data": "digits"}, TypeError, "got str"),
    "number": ({"data": 3}, TypeError, "got int"),
    "generator": ({"data": (x for x in [torch.zeros(3, 4)])}, TypeError, "only once"),
    "no batches": ({"data": []}, ValueError, "data yields no batch"),
    "batch size of a loader": (
        {"data": [torch.zeros(3, 4)], "batch_size": 3},
        ValueError,
        "batch_size is for rows; the iterable decides",
    ),
    "schedule of a PyroOptim": (
        {"optimizer": pyro.optim.Adam({}), "clip_norm": 1.0},
        ValueError,
        "not a PyroOptim",
    ),
    "no parameters": (
        {"pair": NoParameters(), "data": torch.zeros(9)},
        ValueError,
        "no parameters to train",
    ),
    "guide forgets a site": ({"pair": GuideForgets()}, ValueError, "'z' of the model is missing"),
    "device of a stranger": (
        {"pair": Stored(), "device": "cpu"},
        ValueError,
        "device needs a pair that is an nn.Module",
    ),
}


@pytest.mark.parametrize(("arguments", "error", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_use_is_refused_in_one_sentence(arguments, error, message):
    chosen = {"pair": small(), "data": rows(), **arguments}
    pair, x = chosen.pop("pair"), chosen.pop("data")
    with pytest.raises(error, match=message) as raised:
        ppvae.fit(pair, x, **chosen)
    assert "\n" not in str(raised.value)


def test_unknown_option_is_a_type_error():
    with pytest.raises(TypeError, match="epoch"):
        ppvae.fit(small(), rows(), epoch=3)
