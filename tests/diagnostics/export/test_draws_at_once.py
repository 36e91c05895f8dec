"""`from_pyro_svi` where the model runs for many draws at once, and what its programs may hold."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoMultivariateNormal, AutoNormal

import ppvae
from ppvae.diagnostics.export import pyro_svi
from tests.diagnostics.export.test_pairs import groups
from tests.diagnostics.export.test_pyro_svi import fitted, heights, hierarchy, partly_missing


def one_at_a_time(monkeypatch, *arguments, **options):
    with monkeypatch.context() as patched:
        patched.setattr(pyro_svi, "FEW", 10**9)
        return groups(ppvae.from_pyro_svi(*arguments, **options))


def counties(x):
    """As `hierarchy`, which sums over all dimensions."""
    loc = pyro.sample("loc", dist.Normal(0.0, 2.0))
    slope = pyro.sample("slope", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with pyro.plate("county", len(x), dim=-2):
        mean = pyro.sample("mean", dist.Normal(loc, 1.0))
        doubled = pyro.deterministic("doubled", 2 * mean)
        with pyro.plate("person", x.shape[1], dim=-1), pyro.poutine.scale(scale=0.5):
            pyro.sample("height", dist.Normal(doubled / 2 + slope.sum(-1), 0.5), obs=x)


@pytest.mark.parametrize(
    ("model", "kind", "x"),
    [
        (counties, AutoNormal, heights()),
        (counties, AutoMultivariateNormal, heights()),
        (partly_missing, AutoNormal, torch.linspace(-1, 2, 8)),
    ],
)
def test_many_draws_at_once_are_those_of_single_runs(model, kind, x, monkeypatch):
    guide = fitted(kind(model), model, x)
    runs = []

    def counted(x):
        runs.append(1)
        model(x)

    together = groups(ppvae.from_pyro_svi(counted, guide, x, draws=25))
    assert len(runs) < 20
    alone = one_at_a_time(monkeypatch, model, guide, x, draws=25)
    for group in ("posterior", "log_likelihood", "sample_stats"):
        for name, values in alone[group].items():
            assert together[group][name].dims == values.dims
            assert np.allclose(together[group][name], values, rtol=1e-4, atol=1e-4), name
    for group in ("posterior_predictive", "prior", "prior_predictive"):
        for name, values in alone[group].items():
            found = together[group][name]
            assert found.dims == values.dims and found.shape == values.shape
            if found.dtype.kind == "f" and not name.startswith("height_"):
                assert (np.ptp(found.values, axis=1) > 0).all(), name


def test_a_model_for_single_draws_runs_for_each(monkeypatch):
    x = heights()
    guide = fitted(AutoNormal(hierarchy), hierarchy, x)
    found = groups(ppvae.from_pyro_svi(hierarchy, guide, x, draws=25))
    alone = one_at_a_time(monkeypatch, hierarchy, guide, x, draws=25)
    assert all(alone[group].equals(found[group]) for group in alone)


def data_as_subsample(x):
    with pyro.plate("data", len(x), subsample=x):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).expand([len(x), 3]).to_event(1), obs=x)


def data_as_subsample_guide(x):
    with pyro.plate("data", len(x), subsample=x):
        pyro.sample("z", dist.Normal(x.mean(-1), 0.5))


def test_data_in_place_of_their_index():
    x = torch.randn(6, 3)
    found = groups(ppvae.from_pyro_svi(data_as_subsample, data_as_subsample_guide, x, draws=3))
    assert found["posterior"].z.dims == ("chain", "draw", "data")
    assert list(found["posterior"].data.values) == list(range(6))


def without_size(x):
    with pyro.plate("data", dim=-1):
        shared = pyro.sample("shared", dist.Normal(0.0, 1.0))
        z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
        pyro.sample("x", dist.Normal(z + shared, 1.0), obs=x)


def without_size_guide(x):
    with pyro.plate("data", dim=-1):
        pyro.sample("shared", dist.Normal(0.5, 0.1))
        pyro.sample("z", dist.Normal(x, 0.1))


@pytest.mark.parametrize("draws", [4, 30])
def test_a_plate_without_a_size(draws):
    x = torch.linspace(-1, 2, 8)
    found = groups(ppvae.from_pyro_svi(without_size, without_size_guide, x, draws=draws))
    assert found["posterior"].shared.dims == ("chain", "draw")
    assert found["posterior"].z.dims == ("chain", "draw", "data")
    z, shared = (torch.tensor(found["posterior"][name].values[0]) for name in ("z", "shared"))
    seen = dist.Normal(z + shared[:, None], 1.0).log_prob(x)
    assert np.allclose(found["log_likelihood"].x.values[0], seen, atol=1e-5)
    standard = dist.Normal(0.0, 1.0)
    weight = (
        (seen + standard.log_prob(z) - dist.Normal(x, 0.1).log_prob(z)).sum(1)
        + standard.log_prob(shared)
        - dist.Normal(0.5, 0.1).log_prob(shared)
    )
    assert np.allclose(found["sample_stats"].log_weight.values[0], weight, atol=1e-3)


def observing_guide(x, labels):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x, 1.0))
        scores = dist.Categorical(logits=torch.ones(2))
        pyro.sample("label", scores, obs=labels, infer={"is_auxiliary": True})
        pyro.factor("classification", scores.log_prob(labels), has_rsample=False)


def observed_model(x, labels):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def test_what_the_guide_observes_is_left_out_and_named():
    x, labels = torch.linspace(-1, 2, 4), torch.tensor([0, 1, 1, 0])
    found = groups(ppvae.from_pyro_svi(observed_model, observing_guide, x, labels, draws=3))
    assert all({"label", "classification"}.isdisjoint(group.variables) for group in found.values())
    weight = found["sample_stats"].log_weight
    assert weight.attrs["left_out"] == "of the guide: label, classification"
    z = torch.tensor(found["posterior"].z.values[0])
    each = dist.Normal(0.0, 1.0).log_prob(z)
    exact = (each + dist.Normal(z, 1.0).log_prob(x) - dist.Normal(x, 1.0).log_prob(z)).sum(1)
    assert np.allclose(weight.values[0], exact, atol=1e-5)
