"""`from_pyro_svi` on programs as Pyro's users write them: closed forms, names, and Trace_ELBO."""

import functools
import math

import numpy as np
import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import (
    AutoCallable,
    AutoDelta,
    AutoDiagonalNormal,
    AutoGuideList,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
    AutoNormalMessenger,
)
from pyro.nn import PyroModule, PyroSample
from torch import nn

import ppvae
from ppvae import diagnostics
from ppvae.engine.isolation import seeded
from tests.diagnostics.export.test_pairs import GROUPS, SIGMA, groups, moments_agree, read
from tests.marks import each_once

COUNTIES, PEOPLE = 5, 4


def heights():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(COUNTIES, PEOPLE, generator=generator) + torch.arange(5.0)[:, None]


def hierarchy(x):
    """A global latent, one in a plate, one of two dimensions, and a vectorized inner plate."""
    loc = pyro.sample("loc", dist.Normal(0.0, 2.0))
    slope = pyro.sample("slope", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with pyro.plate("county", COUNTIES, dim=-2):
        mean = pyro.sample("mean", dist.Normal(loc, 1.0))
        doubled = pyro.deterministic("doubled", 2 * mean)
        with pyro.plate("person", PEOPLE, dim=-1):
            pyro.sample("height", dist.Normal(doubled / 2 + slope.sum(), 0.5), obs=x)


def fitted(guide, model, *args, steps=2):
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), Trace_ELBO())
    for _ in range(steps):
        svi.step(*args)
    return guide


def test_layout():
    x = heights()
    guide = fitted(AutoNormal(hierarchy), hierarchy, x)
    results = ppvae.from_pyro_svi(hierarchy, guide, x, draws=7)
    found = groups(results)
    assert found.keys() == GROUPS
    drawn = ("chain", "draw")
    for group in ("posterior", "prior"):
        assert set(found[group]) == {"loc", "slope", "mean", "doubled"}
        assert found[group]["loc"].dims == drawn
        assert found[group].slope.dims == (*drawn, "slope_dim_0")
        assert found[group]["mean"].dims == found[group].doubled.dims == (*drawn, "county")
        assert np.allclose(found[group].doubled, 2 * found[group]["mean"])
    for group in ("posterior_predictive", "prior_predictive", "log_likelihood"):
        assert found[group].height.dims == (*drawn, "county", "person")
    assert found["observed_data"].height.dims == ("county", "person")
    assert found["sample_stats"].log_weight.shape == (1, 7)
    assert found["log_likelihood"].height.attrs == {"units": "nats"}
    assert diagnostics.from_pyro_svi is not None


def test_own_dims_and_coords():
    x = heights()
    guide = fitted(AutoNormal(hierarchy), hierarchy, x)
    export = functools.partial(ppvae.from_pyro_svi, hierarchy, guide, x, draws=2)
    names = ["a", "b", "c", "d", "e"]
    results = groups(
        export(coords={"county": names, "way": ["up", "down"]}, dims={"slope": ["way"]})
    )
    assert results["posterior"]["mean"].sel(county="c").shape == (1, 2)
    assert results["posterior"].slope.sel(way="down").shape == (1, 2)
    results = groups(export(dims={"height": ["place", "who"]}, coords={"place": names}))
    for group in ("log_likelihood", "posterior_predictive"):
        assert results[group].height.dims == ("chain", "draw", "place", "who")
        assert list(results[group].place.values) == names
    for arguments, message in (
        ({"coords": {"country": names}}, "coords names the dim 'country'"),
        ({"coords": {"county": names[:2]}}, "'county' must hold 5 values, got 2"),
        ({"dims": {"hight": ["place"]}}, "dims names the site 'hight'; the model has loc"),
        ({"dims": {"height": ["place"]}}, r"'height' must name its 2 dims, by default \('county'"),
    ):
        with pytest.raises(ValueError, match=message):
            export(**arguments)


def conjugate(x):
    """loc ~ N(0, 1), x_i ~ N(loc, 1): loc | x ~ N(sum x / (1 + n), 1 / (1 + n))."""
    loc = pyro.sample("loc", dist.Normal(x.new_zeros(()), 1.0))
    with pyro.plate("person", len(x)):
        pyro.sample("height", dist.Normal(loc, 1.0), obs=x)


def exact(x):
    n = len(x)
    loc = pyro.param("at", x.sum() / (1 + n))
    pyro.sample("loc", dist.Normal(loc, (1 + n) ** -0.5))


@pytest.mark.slow
def test_exact_guide_has_the_evidence_as_weights_and_the_posterior_as_draws():
    x = torch.linspace(-1, 2, 8).double()
    results = groups(ppvae.from_pyro_svi(conjugate, exact, x, draws=800))
    covariance = torch.eye(8).double() + 1
    evidence = dist.MultivariateNormal(torch.zeros(8).double(), covariance).log_prob(x)
    assert abs(results["sample_stats"].log_weight.values - float(evidence)).max() < 1e-9
    loc = results["posterior"]["loc"].values[0]
    assert moments_agree(loc[:, None], float(x.sum()) / 9, np.array([[1 / 9]]))
    likelihood = dist.Normal(torch.tensor(loc)[:, None], 1.0).log_prob(x)
    assert np.allclose(results["log_likelihood"].height.values[0], likelihood)
    noise = results["posterior_predictive"].height.values[0] - loc[:, None]
    assert moments_agree(noise, np.zeros(8), np.eye(8))
    assert abs(np.corrcoef(noise[:-1, 0], loc[1:])[0, 1]) < SIGMA / math.sqrt(800)
    assert moments_agree(
        results["prior_predictive"].height.values[0], np.zeros(8), covariance.numpy()
    )
    joint = (
        results["prior_predictive"].height.values[0] - results["prior"]["loc"].values[0][:, None]
    )
    assert moments_agree(joint, np.zeros(8), np.eye(8))
    assert (results["observed_data"].height.values == x.numpy()).all()


def scaled(x):
    with poutine.scale(scale=0.25):
        conjugate(x)


def subsampled(x):
    loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
    with pyro.plate("person", 40, subsample_size=len(x)), poutine.scale(scale=3.0):
        pyro.sample("height", dist.Normal(loc, 1.0), obs=x)


def masked(x):
    loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
    with pyro.plate("person", len(x)), poutine.mask(mask=x > 0):
        pyro.sample("height", dist.Normal(loc, 1.0), obs=x)


def with_factor(x):
    conjugate(x)
    pyro.factor("penalty", -x.abs().sum())


def partly_missing(x):
    loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
    with pyro.plate("person", len(x)):
        pyro.sample("height", dist.Normal(loc, 1.0), obs=x, obs_mask=x > 0)


AUTOGUIDES = [
    AutoDelta,
    AutoDiagonalNormal,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
]


@pytest.mark.parametrize(
    ("model", "autoguide"),
    each_once(
        {one.__name__: one for one in (conjugate, scaled, subsampled, masked, with_factor)},
        {one.__name__: one for one in AUTOGUIDES},
    ),
)
def test_mean_weight_is_the_elbo(model, autoguide):
    x = torch.linspace(-1, 2, 8)
    guide = fitted(autoguide(model), model, x)
    results = ppvae.from_pyro_svi(model, guide, x, draws=20, seed=3, predictive=False)
    # The random subsample is one more draw in Pyro's runs: there the weights agree in the mean.
    with seeded(3), torch.no_grad():
        elbos = [-Trace_ELBO().loss(model, guide, x) for _ in range(20)]
    weights = results["sample_stats"]["log_weight"].values[0]
    if model is subsampled:
        error = math.hypot(np.std(elbos), np.std(weights)) / math.sqrt(20)
        assert abs(weights.mean() - np.mean(elbos)) < SIGMA * error + 1e-4
    else:
        assert np.allclose(weights, elbos, rtol=1e-5)
    assert set(groups(results)["posterior"]) == {"loc"}


def test_masks_and_factors():
    x = torch.linspace(-1, 2, 8)
    guide = fitted(AutoNormal(masked), masked, x)
    results = groups(ppvae.from_pyro_svi(masked, guide, x, draws=3))
    values = results["log_likelihood"].height.values[0]
    assert (values[:, x <= 0] == 0).all() and (values[:, x > 0] < 0).all()
    guide = fitted(AutoNormal(with_factor), with_factor, x)
    results = groups(ppvae.from_pyro_svi(with_factor, guide, x, draws=3))
    assert "no density" in results["log_likelihood"].penalty.attrs["pseudo_likelihood"]
    assert np.allclose(results["log_likelihood"].penalty, -x.abs().sum())
    assert set(results["posterior_predictive"]) == set(results["observed_data"]) == {"height"}


def test_partly_missing_data():
    x = torch.linspace(-1, 2, 8)
    guide = fitted(AutoNormal(partly_missing), partly_missing, x)
    results = groups(ppvae.from_pyro_svi(partly_missing, guide, x, draws=3))
    filled = results["posterior"].height
    assert filled.dims == ("chain", "draw", "person")
    assert np.allclose(filled.values[..., x > 0], x[x > 0])
    missing = results["posterior"].height_unobserved.values[..., x <= 0]
    assert np.allclose(filled.values[..., x <= 0], missing)


def random_subsample(x):
    loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
    with pyro.plate("person", len(x), subsample_size=6) as index:
        local = pyro.sample("local", dist.Normal(loc, 1.0))
        pyro.sample("height", dist.Normal(local, 1.0), obs=x[index])


def random_subsample_guide(x):
    pyro.sample("loc", dist.Normal(0.0, 1.0))
    with pyro.plate("person", len(x), subsample_size=6) as index:
        pyro.sample("local", dist.Normal(x[index], 0.1))


def test_a_random_subsample_is_the_same_for_all_draws():
    x = torch.arange(40.0) * 10
    export = functools.partial(
        ppvae.from_pyro_svi, random_subsample, random_subsample_guide, x, draws=20
    )
    results = groups(export())
    index = results["posterior"].person.values
    assert len(set(index)) == 6 and list(index) != list(range(6))
    assert (results["observed_data"].person.values == index).all()
    assert (results["observed_data"].height.values == x.numpy()[index]).all()
    assert abs(results["posterior"].local.values - x.numpy()[index]).max() < 1
    predicted = results["posterior_predictive"].height.values
    assert abs(predicted - x.numpy()[index]).max() < 6
    labels = [f"person {i}" for i in range(40)]
    labeled = groups(export(coords={"person": labels}))["posterior"].person.values
    assert list(labeled) == [labels[i] for i in index]
    assert list(groups(export(seed=1))["posterior"].person.values) != list(index)
    # Plate factor and all: the weight of each draw, by hand.
    posterior = {
        name: torch.tensor(results["posterior"][name].values[0])
        for name in results["posterior"].data_vars
    }
    loc, local, seen = posterior["loc"], posterior["local"], x[index.copy()]
    terms = (
        dist.Normal(loc[:, None], 1.0).log_prob(local)
        + dist.Normal(local, 1.0).log_prob(seen)
        - dist.Normal(seen, 0.1).log_prob(local)
    )
    weights = results["sample_stats"].log_weight.values[0]
    assert np.allclose(weights, 40 / 6 * terms.sum(1), rtol=1e-4)


def sequential(x):
    loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
    for row in pyro.plate("rows", len(x)):
        pyro.sample(f"height_{row}", dist.Normal(loc, 1.0), obs=x[row])


def test_sequential_plates_go_by_site_names():
    x = torch.linspace(-1, 2, 3)
    guide = fitted(AutoNormal(sequential), sequential, x)
    results = groups(ppvae.from_pyro_svi(sequential, guide, x, draws=4))
    assert set(results["observed_data"]) == {"height_0", "height_1", "height_2"}
    assert results["log_likelihood"].height_2.dims == ("chain", "draw")


class Regression(PyroModule):
    """A Bayesian linear layer with dropout, as in Pyro's tutorials, called with keywords."""

    def __init__(self):
        super().__init__()
        self.linear = PyroModule[nn.Linear](2, 1)
        self.linear.weight = PyroSample(dist.Normal(0.0, 1.0).expand([1, 2]).to_event(2))
        self.dropout = nn.Dropout()

    def forward(self, x, *, y=None):
        mean = self.dropout(self.linear(x)).squeeze(-1)
        with pyro.plate("rows", len(x)):
            return pyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def test_modules_are_evaluated_and_left_as_they_were():
    x, y = torch.randn(6, 2), torch.randn(6)
    model = Regression()
    guide = AutoDiagonalNormal(model)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), Trace_ELBO())
    svi.step(x, y=y)
    model.train()
    parameters = {name: p.detach().clone() for name, p in guide.named_parameters()}
    store = {name: p.detach().clone() for name, p in pyro.get_param_store().items()}
    state = torch.get_rng_state()
    with poutine.trace() as outer:
        results = groups(diagnostics.from_pyro_svi(model, guide, x, y=y, draws=5))
    assert not outer.trace.nodes
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training and model.dropout.training
    assert all(torch.equal(p, parameters[name]) for name, p in guide.named_parameters())
    assert {name: p.detach() for name, p in pyro.get_param_store().items()}.keys() == store.keys()
    weight = results["posterior"]["linear.weight"]
    assert weight.dims == ("chain", "draw", "linear.weight_dim_0", "linear.weight_dim_1")
    # Without dropout the likelihood follows from the draws.
    bias = model.linear.bias.detach().numpy()
    mean = np.einsum("dij,nj->dn", weight.values[0], x.numpy()) + bias
    exact_values = -0.5 * (y.numpy() - mean) ** 2 - 0.5 * math.log(2 * math.pi)
    assert np.allclose(results["log_likelihood"].y.values[0], exact_values, atol=1e-5)


def test_modules_in_closures_are_evaluated_too():
    network = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1), nn.Dropout()).train()

    def model(x):
        pyro.module("network", network)
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(network(z), 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(x, 1.0).to_event(1))

    x = torch.randn(6, 1)
    diagnostics.from_pyro_svi(model, guide, x, draws=3)
    assert network.training and network[1].training
    assert network[1].num_batches_tracked == 0
    assert not pyro.get_param_store().keys()


@pytest.mark.slow
def test_the_pairs_of_this_library_and_its_weights():
    from tests.linear_gaussian import LinearGaussian

    case = LinearGaussian.random(1)
    pair, x = case.pair(), case.draw(6, seed=2)
    whole = groups(ppvae.from_pyro_svi(pair.model, pair.guide, x, draws=300))
    local = diagnostics.to_arviz(pair, x, draws=300, predictive=False)
    assert whole["posterior"].z.dims == ("chain", "draw", "data", "z_dim_0")
    assert whole["log_likelihood"].x.dims == ("chain", "draw", "data")
    per_datapoint = local["sample_stats"]["log_weight"].values[0]
    total = whole["sample_stats"].log_weight.values[0]
    error = np.std(per_datapoint.sum(1)) / math.sqrt(150)
    assert abs(total.mean() - per_datapoint.sum(1).mean()) < SIGMA * error


def test_every_group_survives_a_file(tmp_path):
    x = heights()
    guide = fitted(AutoNormal(hierarchy), hierarchy, x)
    names = ["a", "b", "c", "d", "é"]
    results = ppvae.from_pyro_svi(hierarchy, guide, x, draws=3, coords={"county": names})
    path = str(tmp_path / "results.nc")
    results.to_netcdf(path, engine="h5netcdf")
    loaded = read(path)
    before, after = groups(results), groups(loaded)
    assert before.keys() == after.keys() == GROUPS
    for name, dataset in before.items():
        again = after[name].load()
        assert dataset.equals(again) and dataset.attrs == again.attrs, name
        assert all(dataset[v].attrs == again[v].attrs for v in dataset), name
    if hasattr(loaded, "close"):
        loaded.close()


def improper(x):
    loc = pyro.sample("loc", dist.ImproperUniform(dist.constraints.real, (), ()))
    with pyro.plate("person", len(x)):
        pyro.sample("height", dist.Normal(loc, 1.0), obs=x)


def improper_guide(x):
    pyro.sample("loc", dist.Normal(0.0, 1.0))


def test_a_prior_without_draws():
    x = torch.zeros(3)
    results = ppvae.from_pyro_svi(improper, improper_guide, x, draws=3, predictive=False)
    assert groups(results).keys() == {
        "posterior",
        "log_likelihood",
        "sample_stats",
        "observed_data",
    }
    refused = "cannot be drawn from: at site .loc. ImproperUniform has no .*predictive=False"
    with pytest.raises(ppvae.Unsupported, match=refused):
        ppvae.from_pyro_svi(improper, improper_guide, x, draws=3)


def test_guides_in_parts_and_plates_without_a_size():
    def model(x):
        loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
        pyro.sample("scale", dist.LogNormal(0.0, 1.0))
        with pyro.plate("person", dim=-1):
            pyro.sample("height", dist.Normal(loc, 1.0).expand(x.shape), obs=x)

    guide = AutoGuideList(model)
    guide.append(AutoNormal(poutine.block(model, expose=["loc"])))
    guide.append(lambda x: {"scale": pyro.sample("scale", dist.LogNormal(0.0, 1.0))})
    x = torch.zeros(3)
    results = groups(ppvae.from_pyro_svi(model, fitted(guide, model, x), x, draws=4))
    assert set(results["posterior"]) == {"loc", "scale"}
    assert results["log_likelihood"].height.shape == (1, 4, 3)
    alone = AutoCallable(conjugate, lambda x: pyro.sample("loc", dist.Normal(0.0, 1.0)))
    assert len(ppvae.from_pyro_svi(conjugate, alone, x, draws=2)["posterior"]["loc"][0]) == 2


def branching(x):
    if pyro.sample("loc", dist.Normal(0.0, 1.0)) > 0:
        pyro.sample("more", dist.Normal(0.0, 1.0), obs=torch.zeros(()))
    pyro.sample("x", dist.Normal(0.0, 1.0).expand(x.shape).to_event(1), obs=x)


def nothing(x):
    pass


def observing(x):
    pyro.sample("loc", dist.Normal(0.0, 1.0), obs=x.new_zeros(()))


def picking(x):
    loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
    index = torch.randperm(100)[: len(x)]
    with pyro.plate("person", 100, subsample=index):
        pyro.sample("height", dist.Normal(loc, 1.0), obs=x)


def plate_named_draw(x):
    loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
    with pyro.plate("draw", len(x)):
        pyro.sample("height", dist.Normal(loc, 1.0), obs=x)


def loc_only(x):
    pyro.sample("loc", dist.Normal(0.0, 1.0))


def extra(x):
    loc_only(x)
    pyro.sample("other", dist.Normal(0.0, 1.0))


REFUSED = {
    (conjugate, nothing): "'loc' of the model is missing from the guide.*or discrete",
    (conjugate, observing): "'loc' is latent in the model and observed in the guide",
    (picking, loc_only): "picks other rows in each run for the plate 'person'",
    (conjugate, extra): "'other' of the guide is missing from the model",
    (plate_named_draw, loc_only): "'height' has the dims draw; they must differ",
    (branching, loc_only): "'more' is not in every run of the model",
}


@pytest.mark.parametrize(("programs", "message"), REFUSED.items())
def test_what_cannot_be_exported_is_refused(programs, message):
    with pytest.raises(ppvae.Unsupported, match=message):
        ppvae.from_pyro_svi(*programs, torch.zeros(3), draws=30)


def test_bad_guides_and_numbers_are_refused():
    x = torch.zeros(3)
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        ppvae.from_pyro_svi(conjugate, exact, x, draws=0)
    with pytest.raises(ValueError, match="an AutoNormal, has not run yet"):
        ppvae.from_pyro_svi(conjugate, AutoNormal(conjugate), x)
    with pytest.raises(TypeError, match="GuideMessenger"):
        ppvae.from_pyro_svi(conjugate, AutoNormalMessenger(conjugate), x)


class Sampler(dist.Normal):
    """A distribution that can be drawn from and has no density."""

    def log_prob(self, value):
        raise NotImplementedError


class Density(dist.Normal):
    """A distribution with a density that cannot be drawn from."""

    def sample(self, *args, **kwargs):
        raise NotImplementedError

    rsample = sample


def measured_by(family):
    def model(x):
        loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
        with pyro.plate("person", len(x)):
            pyro.sample("height", family(loc, torch.ones(len(x))), obs=x)

    return model


def test_what_a_distribution_lacks_is_said_by_site():
    x = torch.zeros(3)
    with pytest.raises(ppvae.Unsupported, match="'height' has no log density, as Sampler"):
        ppvae.from_pyro_svi(measured_by(Sampler), loc_only, x, draws=2)
    unsampled = "the model cannot be drawn from: at site 'height' Density has no sampler"
    with pytest.raises(ppvae.Unsupported, match=unsampled + r" \(NotImplementedError\)"):
        ppvae.from_pyro_svi(measured_by(Density), loc_only, x, draws=2)
    without = ppvae.from_pyro_svi(measured_by(Density), loc_only, x, draws=2, predictive=False)
    assert "posterior_predictive" not in groups(without)

    def guide(x):
        pyro.sample("loc", Density(torch.zeros(()), 1.0))

    with pytest.raises(ppvae.Unsupported, match="the guide cannot be drawn from: at site 'loc'"):
        ppvae.from_pyro_svi(conjugate, guide, x, draws=2)


class OwnError(NotImplementedError):
    """An exception of a user's model."""


@pytest.mark.parametrize("kind", [OwnError, ValueError, RuntimeError])
def test_exceptions_of_the_programs_keep_type_and_message(kind):
    def broken(x):
        pyro.sample("loc", dist.Normal(0.0, 1.0))
        raise kind("my table is offline\nretry later")

    with pytest.raises(kind) as raised:
        ppvae.from_pyro_svi(broken, loc_only, torch.zeros(3), draws=2)
    assert str(raised.value) == "my table is offline\nretry later"
    assert raised.value.__notes__ == ["while the model ran, at or after 'loc'"]


@pytest.mark.parametrize(
    "arguments", [{"draws": 0}, {"dims": {"hight": ["place"]}}, {"coords": {"a": [1]}}]
)
def test_wrong_values_are_no_refusals_of_the_pair(arguments):
    with pytest.raises(ValueError) as raised:
        ppvae.from_pyro_svi(conjugate, exact, torch.zeros(3), **({"draws": 2} | arguments))
    assert not isinstance(raised.value, ppvae.Unsupported)
