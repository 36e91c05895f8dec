"""Whether classes are used, against quadrature in a model whose densities are known."""

import math

import numpy as np
import pytest
import sklearn.ensemble  # noqa: F401, it is imported late, and adds warning filters
import torch
from scipy import stats
from torch import nn

import ppvae
from ppvae import data, diagnostics, likelihoods, posteriors, priors
from ppvae.networks import Joined

FALSE_ALARM_AT = 4.5  # standard errors: 7e-6
MEANS, NOISE, WEIGHT = (-1.5, 0.5, 2.0), 0.8, 0.7


def tilted(shifts):
    """A layer from one-hot classes to means, and scales of 1."""
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([shifts, [0.0] * 3]))
        layer.bias.copy_(torch.tensor([0.0, math.log(math.e - 1)]))
    return layer


def pair(of_prior, of_decoder):
    """z | y ~ N(a_y, 1), x | z, y ~ N(w z + b_y, s^2)."""
    decoder = nn.Linear(4, 1, bias=False)
    decoder.weight.data = torch.tensor([[WEIGHT, *of_decoder]])
    return ppvae.VAE(
        priors.ConditionalNormal(tilted(of_prior)),
        likelihoods.Normal(Joined(decoder), scale=NOISE),
        posteriors.DiagonalNormal(Joined(nn.Linear(4, 2))),
    )


def rows(model, frequencies, count=1500):
    generator = torch.Generator().manual_seed(0)
    labels = torch.multinomial(torch.tensor(frequencies), count, True, generator=generator)
    hot = torch.nn.functional.one_hot(labels, 3).float()
    torch.manual_seed(1)
    x = model.sample(1, hot)[0]
    parts = data.split("shifted", x, torch.distributions.constraints.real, labels=labels)
    return parts.conditional()


def information(centers, scales, frequencies):
    """I(u; y) of u | y ~ N(center_y, scale^2) in two dimensions, by quadrature."""
    grid = np.linspace(-8, 8, 401)
    u, v = np.meshgrid(grid, grid, indexing="ij")
    densities = np.stack(
        [
            stats.norm.pdf(u, a, scales[0]) * stats.norm.pdf(v, b, scales[1])
            for a, b in zip(*centers, strict=True)
        ]
    )
    mixture = np.tensordot(frequencies, densities, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.nan_to_num(densities * (np.log(densities) - np.log(mixture)))
    return float(np.tensordot(frequencies, terms, 1).sum() * (grid[1] - grid[0]) ** 2)


@pytest.mark.parametrize("of_prior", [(0.0, 0.0, 0.0), (1.0, -1.0, 0.0)])
def test_information_is_that_of_quadrature(of_prior):
    model = pair(of_prior, MEANS)
    dataset = rows(model, [0.5, 0.3, 0.2])
    used = diagnostics.condition_use(model, dataset, samples=3000, rows=500)
    shares = np.bincount(dataset.labels["train"]) / len(dataset.train)
    nothing = (0.0, 0.0, 0.0)
    of_z = information((of_prior, nothing), (1.0, 1.0), shares)
    both = information((of_prior, MEANS), (1.0, NOISE), shares)  # x - w z and z are independent
    for name, expected in (("prior", of_z), ("decoder", both - of_z)):
        error = float(used[f"{name}_information_error"])
        difference = float(used[f"{name}_information"]) - expected
        # Rounding is that of single precision.
        assert abs(difference) < FALSE_ALARM_AT * error + 1e-5
        assert error < 0.03
    # Samples of the model that made the data are as easily classified as the data.
    spread = math.hypot(float(used.agreement_error), float(used.accuracy_error))
    assert abs(float(used.agreement - used.accuracy)) < FALSE_ALARM_AT * spread
    assert used.agreement > used.chance + 0.2


def test_a_model_that_ignores_the_class_has_no_information_and_chance_agreement():
    dataset = rows(pair((0.0, 0.0, 0.0), MEANS), [0.4, 0.3, 0.3])
    used = diagnostics.condition_use(
        pair((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)), dataset, samples=3000, rows=500
    )
    assert abs(float(used.prior_information)) < 1e-6
    assert abs(float(used.decoder_information)) < 1e-6
    excess = float(used.agreement - used.chance)
    assert abs(excess) < FALSE_ALARM_AT * float(used.agreement_error)
    assert used.accuracy > 0.6
    assert float(used.class_entropy) == pytest.approx(1.09, abs=0.02)


def test_data_without_classes_are_refused():
    digits = data.digits()
    with pytest.raises(ppvae.Unsupported, match="one-hot condition"):
        diagnostics.condition_use(ppvae.pairs.assemble(digits, latent=1), digits)
