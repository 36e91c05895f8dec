"""A latent that all rows share has one prior, however the rows are cut into minibatches."""

import functools
import math

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import TraceMeanField_ELBO
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import ppvae
from ppvae.engine import run_pair
from ppvae.inference.row_scale import row_scale_of
from tests.marks import slow_but

N = 50
X = 3 + torch.randn(N, generator=torch.Generator().manual_seed(0))
SGD = functools.partial(torch.optim.SGD, lr=1e-4)


class Town(nn.Module):
    """m ~ N(0, 1), z_n ~ N(0, 1), x_n ~ N(m + z_n, 1); the plate knows the number of all rows."""

    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(()))
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.slope = nn.Parameter(torch.zeros(()))

    def plate(self, x):
        return pyro.plate("data", N, subsample=torch.arange(len(x)))  # draws no random numbers

    def model(self, x):
        m = pyro.sample("m", dist.Normal(0.0, 1.0))
        with self.plate(x):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(m + z, 1.0), obs=x)

    def guide(self, x):
        pyro.sample("m", dist.Normal(self.loc, self.log_scale.exp()))
        with self.plate(x):
            pyro.sample("z", dist.Normal(self.slope * x, 1.0))


class Unscaled(Town):
    def plate(self, x):
        return pyro.plate("data", len(x))


class Named(Town):
    def plate(self, x):
        return pyro.plate("citizens", len(x))


class Plateless(Town):
    def model(self, x):
        m = pyro.sample("m", dist.Normal(0.0, 1.0))
        z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(m + z, 1.0).to_event(1), obs=x)

    def guide(self, x):
        pyro.sample("m", dist.Normal(self.loc, self.log_scale.exp()))
        pyro.sample("z", dist.Normal(self.slope * x, 1.0).to_event(1))


class ScaledByHand(Unscaled):
    """Multiplies its rows itself, and must be left alone."""

    def model(self, x):
        m = pyro.sample("m", dist.Normal(0.0, 1.0))
        with self.plate(x), poutine.scale(scale=N / len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(m + z, 1.0), obs=x)

    def guide(self, x):
        pyro.sample("m", dist.Normal(self.loc, self.log_scale.exp()))
        with self.plate(x), poutine.scale(scale=N / len(x)):
            pyro.sample("z", dist.Normal(self.slope * x, 1.0))


def trained(pair, data=X, **options):
    options = {"batch_size": 20, "epochs": 3, "validation": X[:7], **options}
    if data is not X:
        options["batch_size"] = None
    fit = ppvae.fit(pair, data, optimizer=SGD, compile=False, seed=2, **options)
    return torch.stack([p.detach() for p in pair.parameters()]), fit.history


@pytest.mark.parametrize("objective", [None, TraceMeanField_ELBO()])
@pytest.mark.parametrize(
    "kind", slow_but({Plateless, Unscaled}, [Unscaled, Named, Plateless, ScaledByHand])
)
def test_rows_weigh_as_in_a_plate_that_knows_their_number(kind, objective):
    expected, history = trained(Town(), objective=objective)
    weights, found = trained(kind(), objective=objective)
    assert torch.allclose(weights, expected, rtol=1e-5, atol=1e-7)
    assert expected.abs().min() > 1e-4  # all have moved
    if kind is not ScaledByHand:
        for name in ("train_loss", "validation_loss", "train_elbo", "validation_elbo"):
            assert found[name].values == pytest.approx(history[name].values, rel=1e-5), name


def test_a_loader_that_knows_its_rows_weighs_them_too():
    loader = DataLoader(TensorDataset(X), batch_size=20)
    expected, _ = trained(Town(), loader)
    assert torch.allclose(trained(Unscaled(), loader)[0], expected, rtol=1e-5, atol=1e-7)
    batches = [*X.split(20)]
    expected, _ = trained(Town(), batches)
    assert torch.allclose(trained(Unscaled(), batches)[0], expected, rtol=1e-5, atol=1e-7)


class Subsampled(Town):
    """Takes some of the rows that it is given, and counts those it is given."""

    def model(self, x):
        m = pyro.sample("m", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x), subsample_size=3) as rows:
            pyro.sample("x", dist.Normal(m, 1.0), obs=x[rows])

    def guide(self, x):
        pyro.sample("m", dist.Normal(self.loc, self.log_scale.exp()))


@pytest.mark.parametrize(
    ("kind", "size", "total"), [(Subsampled, 20, 2.5), (Unscaled, 20, 2.5), (Town, 20, None)]
)
def test_the_factor_is_that_of_all_rows_to_those_of_the_minibatch(kind, size, total):
    pair, batch = kind(), (X[:size],)
    scale = row_scale_of(pair, batch, run_pair(pair, batch), N, size)
    assert (None if scale is None else scale.factor(size)) == total


class Stream(IterableDataset):
    def __iter__(self):
        return iter(X)


class Mixed(Unscaled):
    """Multiplies the observations alone."""

    def model(self, x):
        m = pyro.sample("m", dist.Normal(0.0, 1.0))
        with self.plate(x):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            with poutine.scale(scale=N / len(x)):
                pyro.sample("x", dist.Normal(m + z, 1.0), obs=x)


def test_rows_of_an_unknown_number_are_refused():
    loader = DataLoader(Stream(), batch_size=20)
    with pytest.raises(ppvae.Unsupported, match="latent site 'm' is shared.*subsample_size=len"):
        trained(Unscaled(), loader)
    assert trained(Town(), loader)[0].isfinite().all()
    with pytest.raises(ppvae.Unsupported, match="of the sites of the rows 'z' counts a minibatch"):
        trained(Mixed())


def test_all_rows_in_one_batch_are_as_they_were():
    expected, _ = trained(Town(), batch_size=N)
    assert torch.equal(trained(Unscaled(), batch_size=N)[0], expected)


@pytest.mark.slow
def test_a_shared_mean_has_its_conjugate_posterior():
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.loc = nn.Parameter(torch.zeros(()))
            self.log_scale = nn.Parameter(torch.zeros(()))

        def model(self, x):
            m = pyro.sample("m", dist.Normal(0.0, 10.0))
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(m, 5.0), obs=x)

        def guide(self, x):
            pyro.sample("m", dist.Normal(self.loc, self.log_scale.exp()))

    x, pair = 3 + 5 * torch.randn(1000), Mean()
    # The gradient is noisy: larger steps, or a faster decay, end beside the optimum.
    decay = functools.partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.996)
    adam = functools.partial(torch.optim.Adam, lr=0.03)
    fit = ppvae.fit(pair, x, epochs=400, optimizer=adam, schedule=decay, compile=False)
    assert fit.scaling == (
        "the rows of a minibatch stand for all 1000, since all rows share latent sites 'm'"
    )
    precision = 1 / 100 + 1000 / 25
    assert pair.log_scale.exp().item() == pytest.approx(precision**-0.5, rel=0.1)
    assert pair.loc.item() == pytest.approx(x.sum().item() / 25 / precision, abs=0.08)
    # log p(x_1, ..., x_1000) of the whole data, a thousandth of it.
    total = torch.distributions.Normal(0.0, 5.0).log_prob(x - x.mean()).sum().item()
    mean = torch.distributions.Normal(0.0, math.sqrt(100 + 25 / 1000)).log_prob(x.mean()).item()
    exact = total + mean + 0.5 * math.log(2 * math.pi * 25 / 1000)
    assert float(fit.history.train_elbo[-20:].mean()) == pytest.approx(exact / 1000, abs=0.005)
