"""Datapoints drawn from the model of a run."""

import numpy as np
import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from torch import nn

import ppvae
from ppvae import data, pairs
from ppvae.engine import isolated
from ppvae.reports import Run, write_samples


@pytest.fixture
def run(tmp_path):
    return Run.create("run", tmp_path / "run")


def test_samples_are_draws_of_the_model_without_its_observations(run):
    dataset = data.segments(100)
    torch.manual_seed(0)
    pair = pairs.assemble(dataset, latent=2)
    (path, figure) = write_samples(run, pair, dataset, 150, seed=3)
    assert figure.name == "draws.png" and figure.exists()
    x, parts = dataset.train, []
    for seed, rows in ((3, x), (4, x[: 150 - len(x)])):  # each block has a seed of its own
        with isolated(pair, seed):
            trace = poutine.trace(poutine.uncondition(pair.model)).get_trace(rows)
            parts.append(trace.nodes["x"]["value"])
    assert np.array_equal(np.load(path), torch.cat(parts).numpy())


class Doubled(nn.Module):
    """A model with a deterministic site, and as many observed sites as are asked for."""

    def __init__(self, observed=1):
        super().__init__()
        self.observed = observed

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(x.shape[1]), 1.0).to_event(1))
            double = pyro.deterministic("double", 2 * z, event_dim=1)
            for index in range(self.observed):
                pyro.sample(f"x_{index}", dist.Normal(double, 1e-6).to_event(1), obs=x)
        self.z = z

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0).to_event(1))


def test_what_a_model_computes_stays_as_it_is(run):
    pair = Doubled()
    (path,) = write_samples(run, pair, data.colors(60), 7, seed=0)
    drawn = np.load(path)
    assert drawn.shape == (7, 3)
    assert np.allclose(drawn, 2 * pair.z.numpy(), atol=1e-4)


def test_a_pair_of_several_observed_sites_is_refused(run):
    with pytest.raises(ppvae.Unsupported, match="one observed site, this one has 2"):
        list(write_samples(run, Doubled(2), data.colors(60), 7, seed=0))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        list(write_samples(run, Doubled(), data.colors(60), 0, seed=0))


def test_a_pair_with_conditions_gets_those_of_the_data(run):
    dataset = data.digits().conditional()
    torch.manual_seed(0)
    pair = pairs.assemble(dataset, latent=2)
    path, classes, figure = write_samples(run, pair, dataset, 5, seed=0)
    assert np.load(path).shape == (5, 64) and np.load(classes).shape == (5,)
    assert figure.exists()
