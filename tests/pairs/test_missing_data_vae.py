"""A VAE of data with gaps, against exact conditionals; no missing cell counts."""

import math

import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import nn

import ppvae
from ppvae import answers, data, diagnostics, inference, likelihoods, networks, posteriors, priors
from ppvae.engine import seeded
from ppvae.pairs import MissingDataVAE
from tests import masked
from tests.contracts.graphs import trained_both_ways

ERRORS = 4  # standard errors: 6e-5 false alarms a comparison, 0.5 % in each of the tests below


class Exact(nn.Module):
    """The loc and raw scale of the exact posterior of `tests.masked`, widened by a factor."""

    def forward(self, x, seen):
        loc, precision = masked.posterior(x.float(), seen > 0)
        sd = precision.inverse().diagonal(dim1=-2, dim2=-1).sqrt() * 1.5
        return torch.cat([loc, sd.expm1().log()], -1).to(x)


def linear():
    """The factor analysis of `tests.masked`, with a guide that is not the posterior."""
    decoder = nn.Linear(masked.LATENTS, masked.FEATURES, bias=False)
    decoder.weight.data = masked.LOADINGS.T.clone()
    return MissingDataVAE(
        priors.StandardNormal(masked.LATENTS),
        likelihoods.Normal(decoder, scale=masked.NOISE),
        posteriors.DiagonalNormal(Exact()),
    )


def with_nan(x, seen):
    return torch.where(seen > 0, x, math.nan)


def conditional(x, seen):
    """Log p(x_seen), and mean and variance of each cell given those of its row that are seen."""
    covariance = masked.LOADINGS.T @ masked.LOADINGS + masked.NOISE**2 * torch.eye(masked.FEATURES)
    covariance = covariance.double()
    log_p, means, variances = [], x.double().clone(), torch.zeros_like(x).double()
    for row, known in enumerate(seen > 0):
        gone, own = ~known, x[row][known].double()
        block = covariance[known][:, known]
        weights = torch.linalg.solve(block, covariance[known][:, gone])
        means[row, gone] = own @ weights
        rest = covariance[gone][:, gone] - covariance[gone][:, known] @ weights
        variances[row, gone] = rest.diagonal()
        log_p.append(
            torch.distributions.MultivariateNormal(torch.zeros(len(own)).double(), block)
            .log_prob(own)
            .sum()
            if len(own)
            else torch.zeros(()).double()
        )
    return torch.stack(log_p), means, variances


@pytest.mark.parametrize("refined", [False, True])
def test_imputation_and_evidence_are_those_of_the_conditional_normal(refined):
    x, seen = masked.drawn(12)
    seen[0] = False  # nothing is known of this row
    log_p, means, variances = conditional(x, seen)
    gaps, pair = with_nan(x, seen), linear()
    found = diagnostics.evidence(pair, gaps, draws=4000)
    wrong = (found.log_evidence.values - log_p.numpy()) / found.log_evidence_error.values
    assert abs(wrong).max() < ERRORS
    assert found.log_evidence.values[0] == pytest.approx(0, abs=0.1)
    better = ppvae.refine(pair, gaps, draws=2000) if refined else None
    draws = 2000 if refined else 8000
    filled = pair.impute(gaps, draws=draws, refined=better, imputations=4000, seed=1)
    known = seen > 0
    assert torch.equal(filled.value[known], x[known])
    # The draws are weighted: their effective number counts, and that of the imputations too.
    count = filled.effective_sample_size[:, None]
    error = (variances / count).sqrt()
    assert ((filled.value - means).abs() <= ERRORS * error)[~known].all()
    variance = filled.draws.double().var(0)
    error = variances * (2 * (1 / count + 1 / 4000)).sqrt()
    assert ((variance - variances).abs() <= ERRORS * error)[~known].all()
    width = (filled.high - filled.low)[~known] / variances.sqrt()[~known]
    assert ((width - 2 * 1.645).abs() < 0.35).all()


def objective_and_gradients(pair, *batch):
    with seeded(0):
        pair.zero_grad()
        loss = Trace_ELBO(num_particles=3, vectorize_particles=True)(pair.model, pair.guide)(
            *batch
        )
        loss.backward()
    return [loss.detach(), *(p.grad.clone() for p in pair.parameters())]


def table_with_categories(rows=40):
    """A table of two numbers, positive ones, counts, and three colors, with cells missing."""
    generator = torch.Generator().manual_seed(0)
    columns = {
        "size": torch.randn(rows, generator=generator).mul(100).numpy(),
        "price": torch.randn(rows, generator=generator).exp().numpy(),
        "sold": torch.randint(0, 90, (rows,), generator=generator).double().numpy(),
        "color": [["red", "green", None, "blue"][place % 4] for place in range(rows)],
    }
    columns["size"][::3] = columns["price"][1::3] = columns["sold"][2::5] = math.nan
    return data.table(columns)


def images(rows=20, event=(1, 6, 6)):
    """A pair of pictures with channels, and pictures of which pixels are missing."""

    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2 * 36, 4)

        def forward(self, x, seen):
            return self.layer(torch.cat([x.flatten(-3), seen.flatten(-3)], -1))

    decoder = nn.Sequential(nn.Linear(2, 36), nn.Unflatten(-1, event))
    pair = MissingDataVAE(
        priors.StandardNormal(2),
        likelihoods.Bernoulli(decoder, event_dim=3),
        posteriors.DiagonalNormal(Flat()),
    )
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(rows, *event, generator=generator).round()
    return pair, x, (torch.rand(x.shape, generator=generator) < 0.6).float()


def cases():
    gaps = data.wine(missing=0.3)
    yield (
        "student",
        lambda: (
            MissingDataVAE.of(gaps, latent=2, likelihood=likelihoods.StudentT),
            *gaps.batch("train"),
        ),
    )
    table = table_with_categories()
    yield "columns", lambda: (MissingDataVAE.of(table, latent=2), *table.batch("train"))
    yield "images", images


@pytest.mark.parametrize(("name", "build"), list(cases()), ids=[name for name, _ in cases()])
def test_no_missing_cell_enters_objective_or_gradients(name, build):
    with seeded(0):
        pair, x, seen = build()
    expected = objective_and_gradients(pair, x, seen)
    assert all(bool(part.isfinite().all()) for part in expected)
    for absurd in (1e30, 2.0, -math.inf, math.inf, math.nan):
        planted = torch.where(seen > 0, x, absurd)
        for one, other in zip(expected, objective_and_gradients(pair, planted, seen), strict=True):
            assert torch.equal(one, other), absurd
    alone = objective_and_gradients(pair, with_nan(x, seen))
    assert all(torch.equal(one, other) for one, other in zip(expected, alone, strict=True))


def test_compiled_training_with_nan_equals_uncompiled(monkeypatch):
    gaps = data.wine(missing=0.3)
    x = with_nan(*gaps.batch("train"))
    network = networks.MLP
    trained_both_ways(
        lambda: MissingDataVAE.of(gaps, latent=2, network=lambda i, o: network(i, o, [8])),
        x,
        monkeypatch,
    )


def test_categories_are_filled_in_by_the_most_probable():
    table = table_with_categories()
    pair = MissingDataVAE.of(table, latent=2)
    ppvae.fit(pair, table, steps=4, objective=inference.ImportanceWeighted_ELBO(3))
    x, seen = table.batch("train")
    filled = pair.impute(x, seen, draws=60, imputations=2)
    color = list(table.columns).index("color")
    gone = seen[:, color] == 0
    assert set(filled.value[gone, color].tolist()) <= {0.0, 1.0, 2.0}
    assert (filled.probability[gone, color] > 1 / 4).all()
    assert filled.probability[~gone].isnan().all(1).logical_not().sum() == 0
    rows = answers.impute(pair, table, draws=60)
    assert set(rows.table.color) == {"red", "green", "blue"}
    assert torch.equal(filled.draws[:, seen > 0], x[seen > 0].expand(2, -1))


def test_images_are_filled_in_and_sampled_whole():
    pair, x, seen = images()
    gaps = with_nan(x, seen)
    filled = pair.impute(gaps, draws=40)
    assert filled.value.shape == x.shape and torch.equal(filled.value[seen > 0], x[seen > 0])
    assert pair.sample(3).shape == (3, 1, 6, 6)
    assert pair.reconstruct(gaps).shape == pair.decode(torch.zeros(20, 2)).mean.shape == x.shape
    assert pair.encode(gaps.numpy()).mean.shape == (20, 2)


def test_what_is_refused():
    pair, x, seen = images()
    with pytest.raises(ValueError, match="holds 1 infinite value"):
        ppvae.fit(pair, torch.where(torch.arange(6) + x * 0 == 3, math.inf, x)[:1, :1, :1, :])
    with pytest.raises(ValueError, match="of the shape of x"):
        ppvae.fit(pair, (x, seen[:, :, :, :1]), steps=1)
    complete = ppvae.VAE(pair.prior, pair.likelihood, pair.posterior)
    with pytest.raises(ValueError, match="NaN or infinite"):
        ppvae.fit(complete, (with_nan(x, seen), seen), steps=1)
    words = MissingDataVAE(
        priors.StandardNormal(2),
        likelihoods.Multinomial(nn.Linear(2, 6)),
        posteriors.DiagonalNormal(networks.Joined(nn.Linear(12, 4))),
    )
    with pytest.raises(ValueError, match="Multinomial is one of whole vectors"):
        ppvae.fit(words, with_nan(torch.ones(8, 6), torch.rand(8, 6) > 0.3), steps=1)
    with pytest.raises(ValueError, match="interval between 0 and 1"):
        pair.impute(x, seen, interval=90)


def test_cells_are_removed_at_random_and_by_their_value():
    truth = data.breast_cancer()
    gaps = data.breast_cancer(missing=0.5, seed=3)
    assert abs(float(gaps.seen["train"].mean()) - 0.5) < 0.02
    known = gaps.seen["test"] > 0
    assert torch.equal(gaps.test[known], truth.test[known]) and (gaps.test[~known] == 0).all()
    above = truth.train > truth.train.mean(0)
    by_value = data.breast_cancer(missing=0.2, at_random=False).seen["train"] == 0
    assert not bool((by_value & ~above).any())
    assert abs(float(by_value.float().mean()) - 0.2) < 0.02
    with pytest.raises(ValueError, match="below 1"):
        data.wine(missing=1.0)
