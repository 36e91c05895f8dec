"""Automatic guides of one normal, each datapoint of which is measured with a log q of its own."""

from types import SimpleNamespace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import (
    AutoDiagonalNormal,
    AutoIAFNormal,
    AutoLaplaceApproximation,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
)

from ppvae import Unsupported, diagnostics

ROWS, TIMES, NOISE = 7, 2, 0.5
X = torch.linspace(-1, 2, ROWS * TIMES).reshape(ROWS, TIMES).double()


def model(x):
    """A mean, a level of each row, and one of each of its two times."""
    one = torch.ones((), dtype=x.dtype)
    mean = pyro.sample("mean", dist.Normal(0 * one, one))
    with pyro.plate("people", len(x), dim=-2):
        level = pyro.sample("level", dist.Normal(mean, one))
        with pyro.plate("times", TIMES, dim=-1):
            inner = pyro.sample("inner", dist.Normal(level, one))
            pyro.sample("x", dist.Normal(inner, NOISE * one), obs=x)


def posterior():
    """The mean and the covariance of (mean, levels, inner levels) given X, in this order."""
    size = 1 + ROWS + ROWS * TIMES
    precision, shift = torch.zeros(size, size).double(), torch.zeros(size).double()
    precision[0, 0] = 1.0

    def link(parent, child):
        for one, other, sign in ((parent, parent, 1), (child, child, 1), (parent, child, -1)):
            precision[one, other] += sign
            if one != other:
                precision[other, one] += sign

    for row in range(ROWS):
        link(0, 1 + row)
        for time in range(TIMES):
            place = 1 + ROWS + row * TIMES + time
            link(1 + row, place)
            precision[place, place] += NOISE**-2
            shift[place] = X[row, time] / NOISE**2
    covariance = precision.inverse()
    return covariance @ shift, covariance


def exact(kind):
    """A guide that is the posterior."""
    pyro.clear_param_store()
    guide = kind(model)
    guide(X)
    loc, covariance = posterior()
    guide.loc.data = loc
    if kind is AutoMultivariateNormal:
        factor = torch.linalg.cholesky(covariance)
        guide.scale, guide.scale_tril = factor.diagonal(), factor / factor.diagonal()[:, None]
    return SimpleNamespace(model=model, guide=guide)


def of_rows(mean):
    """Log p(x_i | mean), exactly."""
    covariance = torch.ones(TIMES, TIMES).double() + (1 + NOISE**2) * torch.eye(TIMES).double()
    return dist.MultivariateNormal(torch.full((TIMES,), mean).double(), covariance).log_prob(X)


@pytest.mark.parametrize("kind", [AutoMultivariateNormal, AutoLaplaceApproximation])
def test_of_the_posterior_every_weight_is_the_evidence(kind):
    pair = exact(kind)
    found = diagnostics.evidence(pair, X, draws=20, seed=1)
    (mean,) = found.attrs["given mean"]
    np.testing.assert_allclose(found.log_evidence, of_rows(mean), atol=1e-8)
    np.testing.assert_allclose(found.posterior_kl, 0, atol=1e-8)
    together = diagnostics.joint_evidence(pair, X, draws=5, progress=False)
    everything = X.flatten()
    blocks = torch.block_diag(*[torch.ones(TIMES, TIMES)] * ROWS).double()
    size = len(everything)
    covariance = 1 + blocks + (1 + NOISE**2) * torch.eye(size).double()
    whole = dist.MultivariateNormal(torch.zeros(size).double(), covariance).log_prob(everything)
    np.testing.assert_allclose(together.log_evidence, whole, atol=1e-6)
    assert float(together.elbo_error) < 1e-8


@pytest.mark.parametrize("kind", [AutoDiagonalNormal, AutoLowRankMultivariateNormal])
def test_of_other_normals_the_evidence_lies_within_its_error(kind):
    """A false alarm of each of the rows is one in a million, by the errors that are normal."""
    found = diagnostics.evidence(exact(kind), X, draws=4000)
    distance = (found.log_evidence - of_rows(found.attrs["given mean"][0]).numpy()).values
    assert (np.abs(distance) < 5 * found.log_evidence_error.values + 1e-3).all()


def test_a_flow_over_a_normal_is_measured_by_all_data_together():
    pyro.clear_param_store()
    pair = SimpleNamespace(model=model, guide=AutoIAFNormal(model, num_transforms=1))
    pair.guide(X)
    effort = diagnostics.Effort(datapoints=ROWS, draws=50)
    together, datapoints = diagnostics.diagnose(pair, X, effort=effort).findings
    assert "log P(X)" in together.answer
    assert "a guide with a site for each latent" in datapoints.advice


def test_every_exit_of_a_laplace_approximation_is_that_of_its_normal():
    pair = exact(AutoLaplaceApproximation)
    check = diagnostics.posterior_predictive_check(
        pair, X, statistics={"mean": torch.mean}, draws=20
    )
    assert float(check["mean"].std()) > 0
    tree = diagnostics.to_arviz(pair, X, draws=100, predictive=False)
    scale = posterior()[1][0, 0].sqrt()
    assert abs(float(tree["posterior"]["mean"].std()) / scale - 1) < 5 / 200**0.5


def test_a_mode_that_is_none_is_refused():
    def flat(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z**2, 1.0), obs=x)

    pair = SimpleNamespace(model=flat, guide=AutoLaplaceApproximation(flat))
    pyro.clear_param_store()
    pair.guide(torch.ones(3))
    pair.guide.loc.data = torch.zeros(3)  # the top between two modes at +-1 is a saddle
    with pytest.raises(Unsupported, match="does not curve down in every direction"):
        diagnostics.joint_evidence(pair, torch.full((3,), 2.0), draws=2, progress=False)
