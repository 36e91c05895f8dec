"""The VAE that fits a dataset."""

import functools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import constraints

import ppvae
from ppvae import data, diagnostics, likelihoods, pairs

REAL = constraints.real
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


RANDOM = torch.Generator().manual_seed(0)
COUNTS = torch.poisson(torch.tensor([3.0, 40.0, 2e4]).expand(200, 3), generator=RANDOM)
WIDE = COUNTS * torch.linspace(0.2, 3, 200)[:, None]
ANSWERS = torch.arange(200.0)[:, None] % 2
TABLE = torch.cat([WIDE.round(), ANSWERS, torch.randn(200, 2, generator=RANDOM)], 1)
KINDS = [constraints.nonnegative_integer, constraints.boolean, REAL]


def test_columns_of_different_kinds_have_their_own_likelihoods(tmp_path):
    dataset = data.split("table", TABLE, constraints.cat(KINDS, -1, [3, 1, 2]))
    pair = pairs.assemble(dataset, latent=2)
    kinds = [type(family).__name__ for family in pair.likelihood.families]
    assert kinds == ["NegativeBinomial", "Bernoulli", "Normal"]
    explained = pairs.explained(dataset)
    assert explained.startswith("likelihood NegativeBinomial: whole numbers from 0 (3 column(s));")
    # The untrained pair is near the data, whatever their units.
    ratio = pair.sample(400)[:, :3].mean(0) / dataset.train[:, :3].mean(0)
    assert bool(((ratio > 0.3) & (ratio < 3)).all())
    ppvae.fit(pair, dataset, epochs=2)
    ppvae.save(pair, tmp_path)
    loaded = ppvae.load(tmp_path)
    one, other = (diagnostics.evidence(p, dataset.test, draws=5) for p in (pair, loaded))
    assert one.log_evidence.equals(other.log_evidence)


def test_units_of_the_data_move_the_density_alone():
    """log p(x) of data times c is log p(x) - log c for each feature, before and after training."""
    x = torch.randn(200, 3) @ torch.randn(3, 3) + 5
    reached = []
    for scale in (1.0, 2.0**-10, 2.0**17):  # powers of two: nothing is rounded differently
        dataset = data.split("x", x * scale, constraints.real)
        torch.manual_seed(0)
        pair = pairs.assemble(dataset, latent=2, pseudo_inputs=5)
        ppvae.fit(pair, dataset, epochs=2, seed=0, compile=False)
        values = diagnostics.evidence(pair, dataset.test, draws=5).log_evidence
        reached.append(torch.as_tensor(values.values) + 3 * math.log(scale))
    torch.testing.assert_close(reached[1], reached[0], rtol=0, atol=1e-4)
    torch.testing.assert_close(reached[2], reached[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", [likelihoods.Normal, likelihoods.StudentT])
def test_density_in_units_of_the_data_is_that_of_standardized_data_and_its_scale(family):
    dataset = data.split("x", torch.randn(60, 4) * torch.tensor([1e-3, 1, 10, 1e4]) + 7, REAL)
    by = data.Standardization.of(dataset.train)
    torch.manual_seed(0)
    pair = pairs.assemble(dataset.standardized(), latent=2, likelihood=family)
    torch.manual_seed(0)
    inside = pairs.assemble(data.split("y", by(dataset.train), REAL), latent=2, likelihood=family)
    x, z = dataset.test, torch.randn(len(dataset.test), 2)
    expected = inside.decode(z).log_prob(by(x)) - by.scale.log().sum()
    torch.testing.assert_close(pair.decode(z).log_prob(x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(pair.encode(x).mean, inside.encode(by(x)).mean)


def test_only_likelihoods_with_units_can_be_standardized():
    dataset = data.split("x", torch.rand(40, 2), constraints.unit_interval).standardized()
    with pytest.raises(ppvae.Unsupported, match="ContinuousBernoulli has no units"):
        pairs.assemble(dataset, likelihood=likelihoods.ContinuousBernoulli)


def test_units_of_positive_columns_and_of_tables_move_the_density_alone():
    """log p(x) of a column times c is log p(x) - log c, whatever the column's kind."""
    random = np.random.default_rng(0)
    rows = 120
    frame = {
        "length": random.normal(1.7, 0.1, rows),
        "income": random.lognormal(3, 1.3, rows),
        "sex": random.choice(["f", "m"], rows),
    }
    reached = []
    for metre, euro in ((1.0, 1.0), (2.0**-10, 2.0**7)):  # powers of two: rounded alike
        dataset = data.table(
            {**frame, "length": frame["length"] * metre, "income": frame["income"] * euro}
        )
        assert [type(column).__name__ for column in dataset.schema.columns][1] == "Positive"
        torch.manual_seed(0)
        pair = pairs.assemble(dataset, latent=2)
        ppvae.fit(pair, dataset, epochs=3, seed=0, compile=False)
        values = diagnostics.evidence(pair, dataset.test, draws=5).log_evidence
        reached.append(torch.as_tensor(values.values) + math.log(metre) + math.log(euro))
    torch.testing.assert_close(reached[1], reached[0], rtol=0, atol=1e-4)


def test_a_conditional_pair_is_given_the_class():
    """Two classes far apart: without the class half of the samples would be of the other."""
    classes = torch.arange(200) % 2
    x = classes[:, None] * 20.0 + torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    dataset = data.split("two", x, REAL, labels=classes).conditional()
    torch.manual_seed(0)
    pair = pairs.assemble(dataset, latent=1, network=nn.Linear)
    fast = functools.partial(torch.optim.Adam, lr=3e-2)
    ppvae.fit(pair, dataset, epochs=60, optimizer=fast, compile=False)
    drawn = pair.sample(100, torch.eye(2))
    assert bool((drawn[:, 0] < 10).all()) and bool((drawn[:, 1] > 10).all())
