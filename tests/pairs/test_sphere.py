"""A pair whose latents lie on the sphere: it trains, and every diagnostic takes it."""

import functools
import math

import numpy as np
import pytest
import torch
from pyro.infer import TraceMeanField_ELBO
from torch import nn

import ppvae
from ppvae import (
    data,
    diagnostics,
    distributions,
    likelihoods,
    networks,
    pairs,
    posteriors,
    priors,
)
from ppvae.reports.figures import gallery

FALSE_ALARM_ERRORS = 4.5  # standard errors, passed by chance once in 150,000 comparisons


def on_a_sphere(features=2, width=6, least=1.0):
    return ppvae.VAE(
        priors.UniformSphere(features),
        likelihoods.Bernoulli(nn.Linear(features, width)),
        posteriors.PowerSpherical(nn.Linear(width, features + 1), least),
    )


def turning_bits(rows=400, width=6):
    """Bits of probabilities that go around a circle."""
    angle = 2 * math.pi * torch.rand(rows, 1)
    phase = torch.arange(width) * (2 * math.pi / width)
    return torch.bernoulli(torch.sigmoid(4 * torch.cos(angle - phase)))


@torch.no_grad()
def integrals(pair, x, points=4000):
    """Return log p(x) and E_q[log p(x, z) - log q(z|x)] of each datapoint, over the circle."""
    angle = (torch.arange(points).double() + 0.5) * (2 * math.pi / points)
    z = torch.stack([angle.cos(), angle.sin()], -1)[:, None]
    log_joint = pair.decode(z).log_prob(x) + pair.prior().log_prob(z)
    log_weight = math.log(2 * math.pi / points)
    log_posterior = pair.encode(x).log_prob(z)
    mass = (log_posterior + log_weight).exp()
    # Where the concentration is small the density ends in a root, so that its mass is not exact.
    elbo = (mass * (log_joint - log_posterior)).sum(0) / mass.sum(0)
    return (log_joint + log_weight).logsumexp(0), elbo


@pytest.mark.slow
@pytest.mark.parametrize("objective", [None, TraceMeanField_ELBO()])
def test_training_approaches_log_evidence(objective):
    torch.manual_seed(0)
    pair, x = on_a_sphere().double(), turning_bits().double()
    before = integrals(pair, x)[1].mean()
    options = {} if objective is None else {"objective": objective}
    ppvae.fit(
        pair,
        x,
        epochs=50,
        batch_size=100,
        optimizer=functools.partial(torch.optim.Adam, lr=0.02),
        compile=False,
        **options,
    )
    log_evidence, elbo = integrals(pair, x)
    assert elbo.mean() > before + 0.5
    assert 0 < (log_evidence - elbo).mean() < 0.5
    terms = diagnostics.evidence(pair, x, draws=1000)
    error = (terms.elbo - elbo.numpy()).mean() / (terms.elbo_error**2).mean() ** 0.5 * 20
    assert abs(error) < FALSE_ALARM_ERRORS


def test_evidence_is_that_of_the_integral():
    """With a concentration of 0.1, that of which importance weights have five moments."""
    torch.manual_seed(0)
    pair, x = on_a_sphere(least=0.1).double(), turning_bits(50).double()
    with torch.no_grad():
        pair.likelihood.network.weight.mul_(4)
        pair.posterior.network.weight[-1] = 0
        pair.posterior.network.bias[-1] = -40
    log_evidence, elbo = (part.numpy() for part in integrals(pair, x))
    terms = diagnostics.evidence(pair, x, draws=4000)
    error = np.abs(terms.log_evidence.values - log_evidence)
    bias = terms.log_evidence_error.values**2  # twice what is lost on average
    assert (error < FALSE_ALARM_ERRORS * terms.log_evidence_error.values + bias).all()
    error = np.abs(terms.elbo.values - elbo)
    assert (error < FALSE_ALARM_ERRORS * terms.elbo_error.values).all()
    known = torch.distributions.kl_divergence(pair.encode(x), pair.prior()).detach()
    np.testing.assert_allclose(terms.kl.values, known, rtol=1e-9)
    assert (terms.kl_error.values == 0).all()


def test_diagnostics_take_latents_on_the_sphere():
    torch.manual_seed(0)
    pair, x = on_a_sphere(features=3), turning_bits()
    ppvae.fit(pair, x, epochs=20, compile=False)
    assert diagnostics.weights(pair, x, draws=3).sizes == {"draw": 3, "data": 400}
    assert np.isfinite(diagnostics.pareto_k(pair, x, draws=100).pareto_k).all()
    units = diagnostics.active_units(pair, x)
    with torch.no_grad():
        exact = pair.encode(x).mean.double().var(0)
    np.testing.assert_allclose(units.variance["z"], exact, rtol=1e-5)
    summary = diagnostics.summarize(diagnostics.evidence(pair, x, draws=100))
    assert np.isfinite(summary["mean"]).all()
    z = diagnostics.to_arviz(pair, x[:5])["posterior"]["z"]
    np.testing.assert_allclose(np.linalg.norm(z.values, axis=-1), 1, rtol=1e-5)
    with pytest.raises(ValueError, match="does not split into dimensions"):
        diagnostics.kl_per_dimension(pair, x)


def test_figures_need_no_point_off_the_sphere():
    dataset = data.segments(300, noise=0.1)
    for latent in (2, 3):
        pair = pairs.assemble(
            dataset,
            latent=latent,
            prior=priors.UniformSphere,
            posterior=posteriors.PowerSpherical,
        )
        names = {name for name, _ in gallery(pair, dataset, "test")}
        assert names == {"latents", "reconstructions", "samples"}


class Shifted(priors.Prior):
    """A user's own prior, which says nothing of its support."""

    def forward(self, *conditions):
        return priors.StandardNormal(2)()


class OwnSphere(posteriors.Posterior):
    """A user's own posterior on the circle, with a constraint of its own making."""

    @property
    def support(self):
        return type(distributions.UniformSphere.support)()

    def forward(self, *conditions):
        return posteriors.PowerSpherical(self.network)(*conditions)


def test_factors_of_different_supports_are_refused():
    bits, encoder = likelihoods.Bernoulli(nn.Linear(2, 6)), networks.MLP(6, 4)
    with pytest.raises(ValueError, match=r"UniformSphere on Sphere.*DiagonalNormal on .*Real"):
        ppvae.VAE(priors.UniformSphere(2), bits, posteriors.DiagonalNormal(encoder))
    with pytest.raises(ValueError, match=r"Shifted on .*Real.*PowerSpherical on Sphere"):
        ppvae.VAE(Shifted(), bits, posteriors.PowerSpherical(nn.Linear(6, 3)))
    ppvae.VAE(Shifted(), bits, posteriors.DiagonalNormal(encoder))
    ppvae.VAE(priors.UniformSphere(2), bits, OwnSphere(nn.Linear(6, 3)))
