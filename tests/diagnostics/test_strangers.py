"""Diagnostics of pairs in plain Pyro: exact where the guide is, refused where nothing is known."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from ppvae import diagnostics
from tests import strangers

ROWS = 64


def data_of(pair):
    generator = torch.Generator().manual_seed(1)
    double = {"generator": generator, "dtype": torch.float64}
    if isinstance(pair, strangers.MaskedLoop):
        return (
            torch.randn(ROWS, 4, **double),
            torch.rand(ROWS, 4, **double) < 0.6,
        )
    shape = {strangers.PlateNotRightmost: (ROWS, 3)}.get(type(pair))
    if isinstance(pair, strangers.OneBatchDimension):
        shape = (ROWS, 1)
    return (2 * torch.randn(shape or (ROWS,), **double),)


@pytest.fixture(autouse=True)
def double_precision(monkeypatch):
    # Pairs without parameters do not tell a dtype: data are cast to torch's default.
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


EXACT = [
    strangers.TwoLatents,
    strangers.TopDown,
    strangers.PlateNotRightmost,
    strangers.MaskedLoop,
    strangers.SampledDiscrete,
    strangers.Marginalized,
    strangers.OneBatchDimension,
    strangers.RefusesTwo,
    strangers.FixedPlate,
]


@pytest.mark.parametrize("memory", [2**27, 20_000], ids=["whole", "chunked"])
@pytest.mark.parametrize("stranger", EXACT)
def test_exact_guide_has_constant_weights(stranger, memory):
    pair = stranger()
    x = data_of(pair)
    exact = pair.log_evidence(*x)
    weights = diagnostics.weights(pair, x, draws=5, memory=memory)
    assert weights.sizes == {"draw": 5, "data": ROWS}
    assert abs(weights.values - exact.numpy()).max() < 1e-9
    evidence = diagnostics.evidence(pair, x, draws=5, memory=memory)
    assert abs(evidence.log_evidence.values - exact.numpy()).max() < 1e-9
    assert abs(evidence.posterior_kl.values).max() < 1e-9
    assert np.allclose(evidence.elbo, evidence.reconstruction - evidence.kl)


def chain_kl(x):
    """KL[q(a, b|x) || p(a, b)] of the two-latent chain with the exact posterior."""
    covariance = torch.tensor([[2 / 3, 1 / 3], [1 / 3, 2 / 3]])
    prior = torch.tensor([[1.0, 1.0], [1.0, 2.0]])
    loc = torch.stack([x / 3, x * 2 / 3], -1)
    normal = torch.distributions.MultivariateNormal
    return torch.distributions.kl_divergence(
        normal(loc, covariance), normal(torch.zeros(2), prior)
    ).numpy()


def test_kl_of_a_bottom_up_guide_is_not_the_sum_of_closed_forms():
    pair = strangers.TwoLatents()
    (x,) = data_of(pair)
    evidence = diagnostics.evidence(pair, x, draws=4000)
    error = (evidence.kl.values - chain_kl(x)) / evidence.kl_error.values
    assert float((evidence.kl_error > 0).all())
    assert abs(error.mean()) < 4 / math.sqrt(ROWS)
    assert 0.7 < error.std() < 1.3


def test_kl_of_a_top_down_guide_is_a_sum_of_closed_forms():
    pair = strangers.TopDown()
    (x,) = data_of(pair)
    evidence = diagnostics.evidence(pair, x, draws=4000)
    error = (evidence.kl.values - chain_kl(x)) / evidence.kl_error.values
    assert abs(error.mean()) < 4 / math.sqrt(ROWS)
    assert 0.7 < error.std() < 1.3
    by_draws = diagnostics.evidence(strangers.TwoLatents(), x, draws=4000).kl_error
    assert float(evidence.kl_error.mean()) < float(by_draws.mean())


def test_kl_of_a_marginalized_pair_is_that_of_z():
    # log P(X) - ELBO is 0 for the exact guide, so KL = reconstruction - log P(X), by quadrature.
    pair = strangers.Marginalized()
    x = torch.tensor([-1.0, 0.5, 3.0])
    evidence = diagnostics.evidence(pair, x, draws=20_000)
    grid = torch.linspace(-12, 12, 20_001)[:, None]
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.tensor(pair.weights)),
        torch.distributions.Normal(torch.tensor(pair.locs), 1.0),
    )
    log_prior = mixture.log_prob(grid)
    log_likelihood = torch.distributions.Normal(grid, 1.0).log_prob(x)
    posterior = (log_prior + log_likelihood - pair.log_evidence(x)).exp()
    kl = torch.trapezoid(posterior * (log_likelihood - pair.log_evidence(x)), grid, dim=0)
    assert bool((abs(evidence.kl.values - kl.numpy()) < 4.5 * evidence.kl_error.values).all())


class Broken(nn.Module):
    """A linear-Gaussian pair of which a subclass breaks one thing."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x, 1.0))


class MissingFromGuide(Broken):
    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(x, 1.0))


class MissingFromModel(Broken):
    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x, 1.0))
            pyro.sample("y", dist.Normal(x, 1.0))


class SequentialPlate(Broken):
    def model(self, x):
        for row in pyro.plate("data", len(x)):
            z = pyro.sample(f"z_{row}", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample(f"x_{row}", dist.Normal(z, 1.0), obs=x[row])

    def guide(self, x):
        for row in pyro.plate("data", len(x)):
            pyro.sample(f"z_{row}", dist.Normal(x[row], 1.0))


class NothingObserved(Broken):
    def model(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))


class Factor(Broken):
    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)
            pyro.factor("penalty", -x.square())


class OutsideSupport(Broken):
    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Bernoulli(logits=z), obs=x)


class SilentlyOutside(Broken):
    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Bernoulli(logits=z, validate_args=False), obs=x)


class InnerEnumeration(Broken):
    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)
            with pyro.plate("inner", 2, dim=-2):
                pyro.sample("k", dist.Categorical(torch.ones(3)))


class NotANumber(Broken):
    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x * math.nan, 1.0))


REFUSED = {
    MissingFromGuide: "'z' of the model is missing from the guide, which has 'y'",
    MissingFromModel: "'y' of the guide is missing from the model, which has 'z'",
    SequentialPlate: "the plate 'data' over the datapoints is a loop",
    NothingObserved: "an observed site in the model; got latents 'z' and observed none",
    Factor: "'penalty' pyro.factor adds a number that is no density",
    OutsideSupport: "6 of 6 observations of site 'x' lie outside the support of Bernoulli",
    SilentlyOutside: "'x' 6 of 6 observations of site 'x' lie outside the support",
    NotANumber: "Expected parameter loc",
}


@pytest.mark.parametrize(("pair", "message"), REFUSED.items())
def test_what_cannot_be_measured_is_refused(pair, message):
    with pytest.raises(ValueError, match=message):
        diagnostics.evidence(pair(), torch.linspace(0.1, 0.9, 6), draws=3)


@pytest.mark.parametrize("pair", [Factor, SilentlyOutside])
def test_weights_of_a_pseudo_likelihood_are_given(pair):
    assert diagnostics.weights(pair(), torch.linspace(0.1, 0.9, 6), draws=3).sizes["draw"] == 3


BAD_DATA = {
    "nan": (torch.tensor([0.0, math.nan]), ValueError, "1 NaN or infinite value"),
    "inf": (torch.tensor([0.0, math.inf]), ValueError, "1 NaN or infinite value"),
    "empty": (torch.zeros(0), ValueError, "at least one datapoint"),
    "scalar": (torch.tensor(1.0), ValueError, "at least one datapoint"),
    "no tensors": ((), ValueError, "empty tuple"),
    "text": ("digits", TypeError, "got text"),
    "objects": (np.array([None, 1]), TypeError, "array of dtype object"),
    "too many tensors": (
        (torch.zeros(3), torch.zeros(3)),
        TypeError,
        r"2 tensor\(s\), but the pair's model takes 1 \(x\)",
    ),
    "columns": (torch.zeros(3, 2), ValueError, "on data of shape .3, 2.|log density|"),
}


@pytest.mark.parametrize(("x", "error", "message"), BAD_DATA.values(), ids=BAD_DATA.keys())
def test_bad_data_are_refused(x, error, message):
    with pytest.raises(error, match=message):
        diagnostics.evidence(Broken(), x, draws=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"draws": 0}, "draws must be at least 1, got 0"), ({"memory": 0}, "memory must be")],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        diagnostics.weights(Broken(), torch.zeros(3), **arguments)


class HasDropout(Broken):
    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(1, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 1)
        )

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.network(x[:, None]).squeeze(-1), 1.0))


def test_evaluation_mode_is_used_and_training_mode_restored():
    pair = HasDropout().train()
    pair.network[2].eval()
    x = torch.linspace(-1, 1, 6)
    modes = [module.training for module in pair.modules()]
    first = diagnostics.weights(pair, x, draws=2)
    assert [module.training for module in pair.modules()] == modes
    assert pair.network[1].num_batches_tracked == 0
    assert diagnostics.weights(pair.eval(), x, draws=2).equals(first)


class StoredParameters(Broken):
    def guide(self, x):
        loc = pyro.param("loc", x.new_zeros(()))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, 1.0))


def test_a_look_at_a_new_pair_stores_no_parameter():
    diagnostics.weights(StoredParameters(), torch.zeros(3), draws=2)
    assert not pyro.get_param_store().keys()


def test_handlers_of_the_caller_see_nothing():
    with pyro.poutine.trace() as trace:
        diagnostics.weights(Broken(), torch.zeros(3), draws=2)
    assert not trace.trace.nodes
