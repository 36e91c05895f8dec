"""The VAE that fits a dataset."""

import pytest
import torch
from torch import nn
from torch.distributions import constraints

import ppvae
from ppvae import data, diagnostics, likelihoods, pairs

SUPPORTS = {
    "binary": (constraints.boolean, likelihoods.Bernoulli),
    "gray": (constraints.unit_interval, likelihoods.ContinuousBernoulli),
    "levels": (constraints.integer_interval(0, 3), likelihoods.Binomial),
    "real": (constraints.real, likelihoods.Normal),
    "counts": (constraints.nonnegative_integer, likelihoods.NegativeBinomial),
}


@pytest.mark.parametrize(("support", "family"), SUPPORTS.values(), ids=SUPPORTS.keys())
def test_likelihood_and_sizes_come_from_the_data(support, family):
    dataset = data.split("noise", (torch.rand(40, 5) < 0.5).float(), support)
    pair = pairs.assemble(dataset, latent=3)
    assert isinstance(pair.likelihood, family)
    assert pair.sample(2).shape == (2, 5)
    assert ppvae.fit(pair, dataset, epochs=1).steps == 1


def test_named_parts_are_taken():
    pair = pairs.assemble(
        data.digits(),
        latent=3,
        network=nn.Linear,
        likelihood=lambda network: likelihoods.Normal(network, scale=1.0),
    )
    assert (pair.likelihood.network.in_features, pair.likelihood.network.out_features) == (3, 64)
    assert pair.posterior.network.network.out_features == 6


def test_positive_data_get_their_likelihood():
    dataset = data.split("sizes", torch.rand(40, 5) + 0.1, constraints.positive)
    assert isinstance(pairs.assemble(dataset).likelihood, likelihoods.LogNormal)


def test_unknown_support_is_refused():
    dataset = data.split("noise", -torch.rand(40, 5), constraints.less_than(0.0))
    with pytest.raises(ppvae.Unsupported, match="no likelihood is known for the support"):
        pairs.assemble(dataset)


def test_latent_must_be_positive():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        pairs.assemble(data.digits(), latent=0)


def test_levels_reach_the_encoder_as_numbers_up_to_one():
    pair = pairs.assemble(data.digits(), latent=2)
    x = data.digits().test[:5]
    inner = pair.posterior.network.network
    assert torch.equal(pair.posterior.network(x), inner(x / 16))


def test_gray_images_of_8_bits_train_and_are_told_in_bits():
    """Raw levels up to 255 would start the encoder far outside its range."""
    images = torch.randint(0, 256, (200, 16)).float()
    gray = data.split("gray", images, constraints.integer_interval(0, 255))
    pair = pairs.assemble(gray, latent=2, likelihood=likelihoods.DiscretizedLogisticMixture)
    ppvae.fit(pair, gray, epochs=2)
    summary = diagnostics.summarize(diagnostics.evidence(pair, gray.test, draws=20))
    bits = float(diagnostics.bits_per_dimension(summary, 16)["mean"])
    assert 8 <= bits < 16  # uniform levels take 8
