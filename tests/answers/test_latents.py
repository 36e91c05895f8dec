"""Latents of rows: means, standard deviations, draws, and the line between two rows."""

from dataclasses import replace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.distributions import constraints

import ppvae
from ppvae import answers, data, likelihoods, posteriors, priors
from tests.linear_gaussian import LinearGaussian
from tests.masked import Within, drawn, posterior


def test_moments_are_those_of_the_guide_whatever_the_chunks():
    law = LinearGaussian.random(0)
    x = law.draw(70, seed=1)
    table = answers.encode(law.pair(), x, memory=20_000)
    guide = law.guide(x)
    assert list(table) == ["row", "z_0", "z_1", "z_0_sd", "z_1_sd"]
    assert np.allclose(table[["z_0", "z_1"]], guide.loc)
    assert np.allclose(table[["z_0_sd", "z_1_sd"]], guide.stddev)


def test_moments_of_draws_and_draws_themselves():
    """Within 6 standard errors."""
    x, seen = drawn(20)
    loc, precision = posterior(x, seen)
    pair = Within()
    pair.guide = twice(pair.guide)  # two latents: their moments are not looked up
    table = answers.encode(pair, (x, seen), draws=1000)
    sd = torch.linalg.inv(precision).diagonal(dim1=1, dim2=2).sqrt()
    wanted, spread = loc.numpy(), sd.numpy()
    error = np.abs(table[["z_0", "z_1"]].to_numpy() - wanted) / spread * np.sqrt(1000)
    assert 0 < error.max() < 6
    ratio = table[["z_0_sd", "z_1_sd"]].to_numpy() / spread
    assert np.abs(ratio - 1).max() < 6 / np.sqrt(2000)
    draws = answers.encode_draws(Within(), (x, seen), draws=400)
    assert draws.draw.tolist() == np.repeat(np.arange(400), 20).tolist()
    means = draws.groupby("row")[["z_0", "z_1"]].mean().to_numpy()
    assert np.abs((means - wanted) / spread).max() < 6 / np.sqrt(400)


def twice(guide):
    """The same guide, whose distribution does not tell its mean."""

    def hidden(*batch):
        class Silent(dist.MultivariateNormal):
            @property
            def mean(self):
                raise NotImplementedError

        loc, precision = posterior(*batch)
        with pyro.plate("data", len(batch[0])):
            pyro.sample("z", Silent(loc, precision_matrix=precision))

    return hidden


def test_a_line_ends_at_the_posterior_means():
    law = LinearGaussian.random(0)
    x = law.draw(40, seed=1)
    parts = data.split("x", x, constraints.real)
    rows = answers.rows_of(parts, "all")
    table = answers.interpolate(law.pair(), rows, 3, "27", steps=5)
    ends = law.guide(x[[3, 27]]).loc.numpy()
    z = table[["z_0", "z_1"]].to_numpy()
    assert np.allclose(z[[0, -1]], ends) and np.allclose(z[2], ends.mean(0))
    decoded = z @ law.loadings.T.numpy() + law.offset.numpy()
    assert np.allclose(table[[f"x_{index}" for index in range(5)]], decoded, atol=1e-5)
    with pytest.raises(ValueError, match="there is no row '40'; expected a number from 0 to 39"):
        answers.interpolate(law.pair(), rows, 3, 40)


def test_a_line_through_a_sphere_is_refused():
    network = torch.nn.Linear(3, 4)
    pair = ppvae.VAE(
        priors.UniformSphere(3),
        likelihoods.Normal(torch.nn.Linear(3, 3), scale=1.0),
        posteriors.PowerSpherical(network),
    )
    rows = answers.rows_of(data.colors(60), "all")
    with pytest.raises(ppvae.Unsupported, match="latents that fill R"):
        answers.interpolate(pair, rows, 0, 1)


@pytest.mark.parametrize("kind", [ppvae.pairs.MixtureVAE, ppvae.pairs.MissingDataVAE])
def test_pairs_of_other_structures_are_interpolated(kind):
    wine = data.wine()
    table = answers.interpolate(kind.of(wine, latent=2), answers.rows_of(wine, "all"), 0, 7)
    assert table.shape == (10, 1 + 2 + 13)
    assert np.allclose(table[["z_0"]].diff().iloc[2:], table.z_0.iloc[1] - table.z_0.iloc[0])


def test_reconstructions_are_expectations():
    """The mean of 100 draws, within 6 standard errors of its exact value."""
    law = LinearGaussian.random(0)
    x = law.draw(30, seed=1)
    table = answers.reconstruct(law.pair(), x, draws=100)
    wanted = law.guide(x).loc @ law.loadings.T + law.offset
    spread = ((law.loadings * law.scale) ** 2).sum(1).sqrt() / 10
    deviation = (table.to_numpy()[:, 1:] - wanted.numpy()) / spread.numpy()
    assert 0 < np.abs(deviation).max() < 6


def test_refined_moments_and_draws_are_those_of_the_posterior():
    """The guide is beside the posterior and narrow. Within 5 standard errors of 300 draws."""
    law = LinearGaussian.random(3)
    law = replace(law, scale=0.2 * law.scale, intercept=law.intercept + 1.0)
    x = law.draw(5, seed=1)
    table = answers.encode(law.pair(), x, refine=True)
    exact = law.posterior(x)
    sd = exact.stddev.numpy()
    limit = 5 / np.sqrt(300)
    assert np.abs((table[["z_0", "z_1"]] - exact.loc.numpy()) / sd).to_numpy().max() < limit
    assert np.abs(table[["z_0_sd", "z_1_sd"]] / sd - 1).to_numpy().max() < limit
    assert list(table)[5:] == ["pareto_k", "trusted"]
    assert table.trusted.all()
    draws = answers.encode_draws(law.pair(), x, draws=400, refine=True)
    means = draws.groupby("row")[["z_0", "z_1"]].mean()
    assert np.abs((means - exact.loc.numpy()) / sd).to_numpy().max() < limit
