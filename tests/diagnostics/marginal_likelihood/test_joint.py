"""Formula (2) of all data together, against multivariate normal densities."""

from types import SimpleNamespace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoDelta
from torch.distributions import MultivariateNormal

import ppvae
from ppvae import diagnostics
from ppvae.engine import Unsupported

X = torch.linspace(-1, 3, 6, dtype=torch.float64)


def pair(*, off=0.0, subsample=None):
    """Mean ~ N(0, 1), z_i ~ N(mean, 1), x_i | z_i ~ N(z_i, 1); its posterior, shifted by `off`."""
    count = len(X)
    precision = 1 + count / 2  # of the mean, once each z_i is integrated out

    def model(x):
        mean = pyro.sample("mean", dist.Normal(x.new_zeros(()), 1.0))
        with pyro.plate("people", count, subsample=subsample):
            z = pyro.sample("z", dist.Normal(mean, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        loc = x.sum() / 2 / precision + off
        mean = pyro.sample("mean", dist.Normal(loc, precision**-0.5))
        with pyro.plate("people", count, subsample=subsample):
            pyro.sample("z", dist.Normal((x + mean) / 2, 0.5**0.5))

    return SimpleNamespace(model=model, guide=guide)


def exact():
    count = len(X)
    covariance = 2 * torch.eye(count) + torch.ones(count, count)
    return float(MultivariateNormal(torch.zeros(count), covariance).log_prob(X.float()))


def test_the_posterior_itself_has_equal_weights():
    found = diagnostics.joint_evidence(pair(), X, draws=20)
    assert float(found.log_evidence) == pytest.approx(exact(), abs=1e-4)
    assert float(found.posterior_kl) == pytest.approx(0, abs=1e-4)
    assert float(found.mean_shift.sel(latent="mean")) == pytest.approx(0, abs=1e-4)


def test_another_guide_misses_its_divergence():
    off, precision = 0.3, 1 + len(X) / 2
    found = diagnostics.joint_evidence(pair(off=off), X, draws=500)
    # The z_i follow the wrong mean as they should, so that only the mean is wrong.
    assert abs(float(found.log_evidence) - exact()) < 4 * float(found.log_evidence_error)
    divergence = off**2 * precision / 2
    missed = exact() - float(found.elbo)
    assert abs(missed - divergence) < 4 * float(found.elbo_error)
    mean = found.sel(latent="mean")
    distance = off * precision**0.5
    assert abs(float(mean.mean_shift) + distance) < 4 * float(mean.mean_shift_error)


@pytest.mark.slow
def test_a_discrete_latent_is_summed_out():
    def model(x):
        mean = pyro.sample("mean", dist.Normal(x.new_zeros(()), 1.0))
        with pyro.plate("people", len(x)):
            sign = pyro.sample("sign", dist.Bernoulli(x.new_tensor(0.5)))
            pyro.sample("x", dist.Normal(mean * (2 * sign - 1), 1.0), obs=x)

    def guide(x):
        pyro.sample("mean", dist.Normal(x.new_zeros(()), 1.0))

    found = diagnostics.joint_evidence(SimpleNamespace(model=model, guide=guide), X, draws=400)
    grid = torch.linspace(-8, 8, 4001, dtype=torch.float64)[:, None]
    halves = torch.stack([dist.Normal(sign * grid, 1.0).log_prob(X) for sign in (-1, 1)])
    terms = (halves.logsumexp(0) - np.log(2)).sum(1) + dist.Normal(0.0, 1.0).log_prob(grid[:, 0])
    expected = float(torch.trapezoid(terms.exp(), grid[:, 0]).log())
    assert abs(float(found.log_evidence) - expected) < 4 * float(found.log_evidence_error)


def test_what_has_no_joint_density_is_refused():
    guide = AutoDelta(pyro.poutine.block(pair().model, expose=["mean", "z"]))
    point = SimpleNamespace(model=pair().model, guide=guide)
    ppvae.fit(point, X.float(), steps=1, compile=False)
    with pytest.raises(Unsupported, match="single point"):
        diagnostics.joint_evidence(point, X.float(), draws=2)
    some = pair(subsample=torch.arange(3))
    with pytest.raises(Unsupported, match="takes some of its rows"):
        diagnostics.joint_evidence(some, X[:3], draws=2)


def test_diagnose_says_what_all_data_tell_together():
    found = diagnostics.diagnose(pair(), X, effort=diagnostics.Effort(datapoints=6, draws=50))
    first = found.findings[0]
    assert first.name == "all data together"
    assert float(first.results["all_data"].log_evidence) == pytest.approx(exact(), abs=1e-4)
