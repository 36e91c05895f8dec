"""`to_arviz` against closed forms, the other diagnostics, and ArviZ's layout of its version."""

import math
from importlib.metadata import version

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray as xr
from torch import nn

import ppvae
from ppvae import diagnostics, likelihoods, posteriors, priors
from tests import strangers
from tests.linear_gaussian import LinearGaussian
from tests.marks import each_once

SIGMA = 5.0  # a false alarm in 2 million for each number that is compared
GROUPS = {
    "posterior",
    "posterior_predictive",
    "prior",
    "prior_predictive",
    "log_likelihood",
    "sample_stats",
    "observed_data",
}


def groups(results):
    if isinstance(results, xr.DataTree):
        return {name: node.to_dataset() for name, node in results.children.items()}
    return {name: results[name] for name in results.groups()}


def read(path):
    if int(version("arviz").split(".")[0]) >= 1:
        return xr.open_datatree(path, engine="h5netcdf")
    from arviz import InferenceData

    return InferenceData.from_netcdf(path, engine="h5netcdf")


def moments_agree(values, mean, covariance):
    """Mean and covariance of rows `(n, d)` against known ones, each number within 5 sigma."""
    n = len(values)
    error = abs(values.mean(0) - mean) / np.sqrt(np.diag(covariance) / n)
    variances = np.diag(covariance)
    spread = np.sqrt((np.outer(variances, variances) + covariance**2) / n)
    difference = abs(np.cov(values.T).reshape(covariance.shape) - covariance) / spread
    return error.max() < SIGMA and difference.max() < SIGMA


@pytest.fixture(scope="module")
def linear():
    """A linear-Gaussian pair, its data and its export."""
    case = LinearGaussian.random(1)
    x = case.draw(6, seed=2)
    return case, x, diagnostics.to_arviz(case.pair(), x, draws=4000, seed=3)


def test_layout(linear):
    *_, results = linear
    found = groups(results)
    assert found.keys() == GROUPS
    assert isinstance(results, xr.DataTree) == (int(version("arviz").split(".")[0]) >= 1)
    drawn = ("chain", "draw", "data")
    assert found["posterior"].z.dims == found["prior"].z.dims == (*drawn, "z_dim_0")
    for group in ("posterior_predictive", "prior_predictive"):
        assert found[group].x.dims == (*drawn, "x_dim_0")
    assert found["log_likelihood"].x.dims == found["sample_stats"].log_weight.dims == drawn
    assert found["observed_data"].x.dims == ("data", "x_dim_0")
    for group in GROUPS:
        for name, size in found[group].sizes.items():
            assert (found[group].coords[name] == np.arange(size)).all()
        assert found[group].attrs["creation_library"] == "ppvae"
        assert found[group].attrs["creation_library_version"] == ppvae.__version__
        assert found[group].attrs["inference_library"] == "pyro"
    assert found["log_likelihood"].x.attrs == {"units": "nats"}
    assert found["sample_stats"].log_weight.attrs == {"units": "nats"}


def test_posterior_is_that_of_the_guide(linear):
    case, x, results = linear
    guide = case.guide(x)
    for row, draws in enumerate(results["posterior"]["z"].values[0].swapaxes(0, 1)):
        assert moments_agree(draws, guide.loc[row].numpy(), guide.covariance_matrix[row].numpy())


def test_prior_and_its_predictive_have_the_moments_of_the_model(linear):
    case, _, results = linear
    z = results["prior"]["z"].values.reshape(-1, 2)
    assert moments_agree(z, np.zeros(2), np.eye(2))
    x = results["prior_predictive"]["x"].values.reshape(-1, 5)
    marginal = case.marginal
    assert moments_agree(x, marginal.loc.numpy(), marginal.covariance_matrix.numpy())


def test_prior_and_its_predictive_belong_together(linear):
    case, _, results = linear
    z, x = (results[g][v].values for g, v in (("prior", "z"), ("prior_predictive", "x")))
    noise = (x - z @ case.loadings.numpy().T - case.offset.numpy()).reshape(-1, 5)
    assert moments_agree(noise, np.zeros(5), case.noise**2 * np.eye(5))


def test_posterior_predictive_is_drawn_at_the_posterior(linear):
    case, _, results = linear
    z, x = results["posterior"]["z"].values, results["posterior_predictive"]["x"].values
    noise = (x - z @ case.loadings.numpy().T - case.offset.numpy()).reshape(-1, 5)
    assert moments_agree(noise, np.zeros(5), case.noise**2 * np.eye(5))
    # Noise of its own, not that of the next draws of z.
    scaled = (z - case.guide(linear[1]).loc.numpy()).reshape(-1, 2) / case.scale.numpy()
    for shift in (0, 6):
        pairs = scaled[: len(scaled) - shift].T @ noise[shift:] / case.noise
        assert abs(pairs).max() < SIGMA * math.sqrt(len(noise))


def test_densities_are_those_of_the_draws(linear):
    case, x, results = linear
    z = torch.tensor(results["posterior"]["z"].values[0])
    normal = torch.distributions.Normal
    log_likelihood = normal(z @ case.loadings.T + case.offset, case.noise).log_prob(x).sum(-1)
    assert np.allclose(results["log_likelihood"]["x"].values[0], log_likelihood)
    log_prior = normal(0.0, 1.0).log_prob(z).sum(-1)
    log_weight = log_prior + log_likelihood - case.guide(x).log_prob(z)
    assert np.allclose(results["sample_stats"]["log_weight"].values[0], log_weight)
    assert (results["observed_data"]["x"].values == x.numpy()).all()


@pytest.mark.parametrize("predictive", [True, False])
@pytest.mark.parametrize("memory", [2**27, 20_000], ids=["whole", "chunked"])
def test_weights_are_those_of_the_same_seed(memory, predictive):
    case = LinearGaussian.random(1)
    arguments = {"draws": 30, "seed": 4, "memory": memory}
    x = case.draw(20, seed=2)
    results = diagnostics.to_arviz(case.pair(), x, predictive=predictive, **arguments)
    weights = diagnostics.weights(case.pair(), x, **arguments)
    assert (results["sample_stats"]["log_weight"].values[0] == weights.values).all()
    expected = {"posterior", "log_likelihood", "sample_stats", "observed_data"}
    assert groups(results).keys() == (GROUPS if predictive else expected)
    if predictive:
        x = results["prior_predictive"]["x"].values.reshape(-1, 5)
        assert len(np.unique(x[:, 0])) == len(x)  # chunks do not repeat each other


def test_every_group_survives_a_file(linear, tmp_path):
    case, x, _ = linear
    results = diagnostics.to_arviz(case.pair(torch.float32), x, draws=3)
    path = str(tmp_path / "results.nc")
    results.to_netcdf(path, engine="h5netcdf")
    loaded = read(path)
    before, after = groups(results), groups(loaded)
    assert before.keys() == after.keys()
    for name, dataset in before.items():
        assert dataset.identical(after[name].load()), name
        assert all(dataset[v].dtype == after[name][v].dtype for v in dataset), name
    if hasattr(loaded, "close"):
        loaded.close()


@pytest.fixture
def double_precision():
    # Pairs without parameters do not tell a dtype: data are cast to torch's default.
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


ROWS = 64  # FixedPlate takes no other number


def stranger_data(stranger):
    generator = torch.Generator().manual_seed(1)
    double = {"generator": generator, "dtype": torch.float64}
    if stranger is strangers.MaskedLoop:
        return torch.randn(ROWS, 4, **double), torch.rand(ROWS, 4, **double) < 0.6
    if stranger is strangers.PlateNotRightmost:
        return (torch.randn(ROWS, 3, **double),)
    one_column = issubclass(stranger, strangers.OneBatchDimension)
    return (2 * torch.randn((ROWS, 1) if one_column else (ROWS,), **double),)


# Each stranger with the variance of every latent and observed site under its model, and a mean
# where it is not 0.
MODELS = {
    strangers.TwoLatents: {"odd name": 1, "b": 2, "seen": 3},
    strangers.TopDown: {"odd name": 1, "b": 2, "seen": 3},
    strangers.PlateNotRightmost: {"z": 1, "x": 2},
    strangers.MaskedLoop: {"z": 1, "x_0": 2, "x_1": 2, "x_2": 2, "x_3": 2},
    strangers.SampledDiscrete: {"k": (0.7, 0.21), "z": (0.8, 4.36), "x": (0.8, 5.36)},
    strangers.Marginalized: {"z": (0.8, 4.36), "x": (0.8, 5.36)},
    strangers.OneBatchDimension: {"z": 1, "x": 2},
    strangers.RefusesTwo: {"z": 1, "x": 2},
    strangers.FixedPlate: {"z": 1, "x": 2},
}


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize(
    ("stranger", "memory"),
    each_once({one.__name__: one for one in MODELS}, {"whole": 2**27, "chunked": 100_000}),
)
def test_strangers_are_exported(stranger, memory):
    pair, x = stranger(), stranger_data(stranger)
    draws = 20 if issubclass(stranger, strangers.OneBatchDimension) else 60
    results = groups(diagnostics.to_arviz(pair, x, draws=draws, memory=memory))
    log_evidence = pair.log_evidence(*x).numpy()
    assert abs(results["sample_stats"].log_weight.values - log_evidence).max() < 1e-9
    variances = MODELS[stranger]
    simulated = results["prior"].merge(results["prior_predictive"])
    assert set(simulated) == set(variances)
    assert set(results["posterior"]) == set(results["prior"])
    for name, moments in variances.items():
        values = simulated[name].values.ravel()
        mean, variance = moments if isinstance(moments, tuple) else (0.0, moments)
        # Values of one z are correlated over times; a quarter of them counts.
        count = len(values) / (4 if stranger is strangers.PlateNotRightmost else 1)
        assert abs(values.mean() - mean) < SIGMA * math.sqrt(variance / count), name
        assert abs(values.var() / variance - 1) < SIGMA * math.sqrt(2 / count), name
    for name, observed in results["observed_data"].items():
        assert observed.dims == simulated[name].dims[2:]
    if stranger is strangers.PlateNotRightmost:
        assert results["posterior"].z.dims == ("chain", "draw", "data")
        assert results["observed_data"].x.dims == ("data", "time")
        assert (results["observed_data"].x.values == x[0].numpy()).all()


@pytest.mark.usefixtures("double_precision")
def test_masked_entries_have_no_likelihood():
    pair = strangers.MaskedLoop()
    x, seen = stranger_data(strangers.MaskedLoop)
    results = groups(diagnostics.to_arviz(pair, (x, seen), draws=5))
    z = torch.tensor(results["posterior"].z.values[0])
    for time in range(4):
        exact = torch.where(seen[:, time], dist.Normal(z, 1.0).log_prob(x[:, time]), 0.0)
        assert np.allclose(results["log_likelihood"][f"x_{time}"].values[0], exact)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("one_by_one", [False, True])
def test_summed_out_latents_are_drawn_given_data_and_latents(one_by_one):
    class Labeled(strangers.Marginalized):
        """The class shows in y, without noise: y given (z, x) tells p(k | x, z)."""

        def model(self, x):
            with pyro.plate("data", len(x)):
                k = pyro.sample("k", dist.Categorical(x.new_tensor(self.weights)))
                z = pyro.sample("z", dist.Normal(x.new_tensor(self.locs)[k], 1.0))
                if one_by_one and z.dim() > 1:
                    raise RuntimeError("expected 1 dimension")
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)
                pyro.sample("y", dist.Normal(3.0 * k, 1e-3), obs=torch.full_like(x, 1.5))

    (x,) = stranger_data(Labeled)
    # y = 1.5 is as far from 0 as from 3: p(k | x, y, z) = p(k | z).
    results = groups(diagnostics.to_arviz(Labeled(), x / 4, draws=200 if one_by_one else 1000))
    z = torch.tensor(results["posterior"].z.values[0])
    odds = dist.Normal(2.0, 1.0).log_prob(z) - dist.Normal(-2.0, 1.0).log_prob(z)
    exact = torch.sigmoid(odds + math.log(0.7 / 0.3)).numpy()
    k = results["posterior_predictive"].y.values[0] / 3
    assert abs(k - k.round()).max() < 0.01
    error = (k.round() - exact).sum() / math.sqrt((exact * (1 - exact)).sum())
    assert abs(error) < SIGMA
    # Unlike draws of k from the prior, these go with z draw by draw.
    assert np.corrcoef(k.ravel(), exact.ravel())[0, 1] > 0.5


class ReadsItsData(nn.Module):
    """x_1 given x_0 runs through a network of one batch dimension: as data x_0 has just one."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            first = pyro.sample("x_0", dist.Normal(z, 1.0), obs=x[:, 0])
            pyro.sample("x_1", dist.Normal(first.reshape(-1)[: len(x)], 0.1), obs=x[:, 1])

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x[:, 0] / 2, math.sqrt(0.5)))


def test_a_network_that_meets_draws_only_in_simulation_is_recognized():
    x = torch.randn(8, 2)
    results = groups(diagnostics.to_arviz(ReadsItsData(), x, draws=50))
    for group in ("posterior_predictive", "prior_predictive"):
        noise = (results[group].x_1 - results[group].x_0).values
        assert abs(noise).max() < 0.1 * 6


class Regression(nn.Module):
    """y given covariates, a batch of two tensors, with a `pyro.deterministic` site."""

    def model(self, covariates, y):
        with pyro.plate("data", len(y)):
            z = pyro.sample("z/local", dist.Normal(y.new_zeros(2), 1.0).to_event(1))
            mean = pyro.deterministic("mean", (z * covariates).sum(-1))
            pyro.sample("y", dist.Normal(mean, 1.0), obs=y)

    def guide(self, covariates, y):
        with pyro.plate("data", len(y)):
            pyro.sample("z/local", dist.Normal(covariates * y[:, None], 1.0).to_event(1))


def test_names_with_a_slash_and_tuples_of_tensors(tmp_path):
    x = (torch.randn(4, 2), torch.randn(4))
    results = diagnostics.to_arviz(Regression(), x, draws=7)
    found = groups(results)
    assert found["posterior"]["z.local"].sizes["z.local_dim_0"] == 2
    assert set(found["observed_data"]) == {"y"} == set(found["posterior_predictive"])
    results.to_netcdf(str(tmp_path / "results.nc"), engine="h5netcdf")


class WithFactor(strangers.TwoLatents):
    def model(self, x):
        with pyro.plate("data", len(x)):
            a = pyro.sample("odd name", dist.Normal(x.new_zeros(()), 1.0))
            b = pyro.sample("b", dist.Normal(a, 1.0))
            pyro.sample("seen", dist.Normal(b, 1.0), obs=x)
            pyro.factor("penalty", -x.square())


def test_pseudo_likelihoods_are_marked(tmp_path):
    x = torch.linspace(-1, 1, 5)
    results = diagnostics.to_arviz(WithFactor(), x, draws=4)
    found = groups(results)
    assert set(found["log_likelihood"]) == {"seen", "penalty"}
    assert np.allclose(found["log_likelihood"].penalty.values, -x.square())
    assert "no density" in found["log_likelihood"].penalty.attrs["pseudo_likelihood"]
    assert "pseudo_likelihood" not in found["log_likelihood"].seen.attrs
    assert set(found["posterior_predictive"]) == set(found["observed_data"]) == {"seen"}
    results.to_netcdf(str(tmp_path / "results.nc"), engine="h5netcdf")

    gray = ppvae.VAE(
        priors.StandardNormal(2),
        likelihoods.GrayBernoulli(nn.Linear(2, 3)),
        posteriors.DiagonalNormal(nn.Linear(3, 4)),
    )
    found = groups(diagnostics.to_arviz(gray, torch.rand(5, 3), draws=4))
    assert "pseudo-likelihood" in found["log_likelihood"].x.attrs["pseudo_likelihood"]


class GlobalLatent(strangers.TwoLatents):
    def model(self, x):
        pyro.sample("shared", dist.Normal(0.0, 1.0))
        super().model(x)

    def guide(self, x):
        pyro.sample("shared", dist.Normal(0.0, 1.0))
        super().guide(x)


class NoSampler(strangers.TwoLatents):
    class Given(dist.Normal):
        def sample(self, *args, **kwargs):
            raise NotImplementedError("Given has no sampler")

        rsample = sample

    def model(self, x):
        with pyro.plate("data", len(x)):
            a = pyro.sample("odd name", dist.Normal(x.new_zeros(()), 1.0))
            b = pyro.sample("b", dist.Normal(a, 1.0))
            pyro.sample("seen", self.Given(b, torch.ones(len(x))), obs=x)


class NamedDraw(strangers.TwoLatents):
    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("draw", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("seen", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("draw", dist.Normal(x, 1.0))


REFUSED = {
    NoSampler: r"cannot be drawn from .*no sampler.*predictive=False",
    NamedDraw: "site 'draw' has the name of a dim",
}


@pytest.mark.parametrize(("pair", "message"), REFUSED.items())
def test_what_cannot_be_exported_is_refused(pair, message):
    with pytest.raises(ValueError, match=message):
        diagnostics.to_arviz(pair(), torch.linspace(-1, 1, 5), draws=3)


def test_latents_of_all_datapoints_are_drawn_anew_for_each_draw():
    found = groups(diagnostics.to_arviz(GlobalLatent(), torch.linspace(-1, 1, 5), draws=30))
    shared = found["posterior"].shared
    assert shared.dims == ("chain", "draw")
    assert len(np.unique(shared)) == 30


def test_without_prediction_a_sampler_is_not_needed():
    x = torch.linspace(-1, 1, 5)
    results = groups(diagnostics.to_arviz(NoSampler(), x, draws=3, predictive=False))
    assert "posterior_predictive" not in results
