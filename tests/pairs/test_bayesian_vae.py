"""A Bayesian last layer whose posterior is known: a linear regression on given features."""

import pyro.distributions as dist
import pytest
import torch
from pyro.infer import TraceMeanField_ELBO
from torch import nn

import ppvae
from ppvae import diagnostics, likelihoods, pairs, posteriors, priors
from ppvae.inference import CosineDecay
from ppvae.networks import LinearGiven

ROWS, NOISE = 160, 0.5


class Given(nn.Module):
    """Features that are the condition y; z is of no use."""

    def forward(self, z, y):
        return y + 0 * z[..., :1]


class OneForAll(nn.Module):
    """The same posterior of z for all datapoints."""

    def __init__(self):
        super().__init__()
        self.outputs = nn.Parameter(torch.zeros(2))

    def forward(self, x, y):
        return self.outputs.expand(*x.shape[:-1], 2)


class FullRank(priors.Prior):
    """A normal with all correlations, as a caller writes it."""

    def __init__(self, features):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(features))
        self.below = nn.Parameter(torch.zeros(features, features))
        self.log_diagonal = nn.Parameter(torch.full((features,), -2.3))

    def forward(self, *conditions):
        factor = self.below.tril(-1) + self.log_diagonal.exp().diag()
        return dist.MultivariateNormal(self.loc, scale_tril=factor)


def regression(*, orthogonal):
    """Return x, y, and the exact mean and standard deviation of W and b, `(2, 3)` each."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(ROWS, 2, generator=generator)
    if orthogonal:  # so that the weights are independent, as the mean-field guide has them
        columns = torch.linalg.qr(torch.cat([torch.ones(ROWS, 1), y], 1)).Q
        y = columns[:, 1:] * ROWS**0.5
    else:
        y[:, 1] += 1.5 * y[:, 0]
    slopes, offsets = torch.tensor([[1.0, -0.5], [0.5, 2.0]]), torch.tensor([0.3, -1.0])
    x = y @ slopes.T + offsets + NOISE * torch.randn(ROWS, 2, generator=generator)
    design = torch.cat([y, torch.ones(ROWS, 1)], 1).double()
    covariance = (design.T @ design / NOISE**2 + torch.eye(3)).inverse()
    mean = (covariance @ design.T @ x.double() / NOISE**2).T
    return x, y, mean, covariance.diagonal().sqrt()


def built(weight_posterior):
    torch.manual_seed(0)
    return pairs.BayesianVAE(
        priors.StandardNormal(1),
        likelihoods.Normal(LinearGiven(Given()), scale=NOISE),
        posteriors.DiagonalNormal(OneForAll()),
        priors.StandardNormal(6),
        weight_posterior,
    )


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [16, ROWS])
def test_posterior_of_the_weights_is_exact(batch_size, orthogonal=True, steps=500):
    x, y, mean, scale = regression(orthogonal=orthogonal)
    pair = built(priors.LearnedNormal(6, 0.1) if orthogonal else FullRank(6))
    ppvae.fit(
        pair,
        (x, y),
        steps=steps,
        batch_size=batch_size,
        objective=TraceMeanField_ELBO(
            num_particles=300, vectorize_particles=True, max_plate_nesting=1
        ),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.05),
        schedule=CosineDecay,
        compile=False,
    )
    found = pair.weight_posterior()
    torch.testing.assert_close(found.mean.double().view(2, 3), mean, rtol=0.02, atol=0)
    ratio = found.stddev.double().view(2, 3) / scale
    assert ((ratio - 1).abs() < 0.02).all(), ratio
    # With the exact posterior, log P(X) of all data is known from a few draws.
    design = torch.cat([y, torch.ones(ROWS, 1)], 1).double()
    covariance = design @ design.T + NOISE**2 * torch.eye(ROWS)
    zero = torch.zeros(ROWS).double()
    exact = dist.MultivariateNormal(zero, covariance).log_prob(x.double().T).sum()
    terms = diagnostics.joint_evidence(pair, (x, y), draws=100, progress=False)
    assert abs(float(terms.log_evidence) - float(exact)) < 0.2


@pytest.mark.verify
def test_a_factor_of_the_callers_is_exact_where_weights_depend_on_each_other():
    test_posterior_of_the_weights_is_exact(16, orthogonal=False, steps=4000)


def test_a_datapoint_is_measured_given_the_weights():
    x, y, _, _ = regression(orthogonal=False)
    pair = built(priors.LearnedNormal(6, 0.5))
    terms = diagnostics.evidence(pair, (x[:10], y[:10]), draws=50)
    weights = torch.tensor(terms.attrs["given weights"]).float()
    loc = LinearGiven(nn.Identity())(y[:10], weights)
    exact = dist.Normal(loc, NOISE).log_prob(x[:10]).sum(-1)
    torch.testing.assert_close(
        torch.tensor(terms.log_evidence.values).float(), exact, atol=0.2, rtol=0
    )


def test_decoding_takes_the_mean_of_the_weights_and_a_sample_one_draw():
    pair = built(priors.LearnedNormal(6, 1.0))
    y = torch.randn(4, 2)
    loc = LinearGiven(nn.Identity())(y, pair.weight_posterior.loc)
    torch.testing.assert_close(pair.decode(torch.zeros(4, 1), y).mean, loc.detach())
    together = torch.stack([pair.sample(1, y[:1])[0, 0] for _ in range(400)]).std(0)
    apart = pair.sample(400, y[:1])[:, 0].std(0)  # all at the same weights
    assert ((apart / NOISE - 1).abs() < 5 / 800**0.5).all()
    assert (together > 1.2 * NOISE).all()
