"""Imputed cells, against the exact conditional distribution of a factor analysis."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import ppvae
from ppvae import answers, data
from ppvae.answers import Rows
from tests import masked

COLUMNS = tuple(f"x_{index}" for index in range(masked.FEATURES))
DRAWS = 4000


class Wide(masked.Within):
    """Its guide is wider than the posterior and beside it: the weights must set it right."""

    def guide(self, x, seen):
        loc, precision = masked.posterior(x, seen)
        with pyro.plate("data", len(x)):
            normal = dist.MultivariateNormal(loc + 0.1, precision_matrix=precision / 1.5)
            pyro.sample("z", normal)


def rows(count, missing=0.4):
    x, seen = masked.drawn(count, missing)
    return Rows((x, seen.float()), np.arange(count), columns=COLUMNS, masked=True)


class WithFloats(Wide):
    """Takes numbers 1 and 0 for what is seen."""

    def likelihood(self, loc, seen, x):
        return super().likelihood(loc, seen > 0, x)


def exact(part):
    """Mean and covariance of every feature of each row, given those that are seen."""
    loc, precision = masked.posterior(part.batch[0], part.batch[1] > 0)
    covariance = masked.LOADINGS.T @ torch.linalg.inv(precision) @ masked.LOADINGS
    return loc @ masked.LOADINGS, covariance + masked.NOISE**2 * torch.eye(masked.FEATURES)


def test_means_and_intervals_are_those_of_the_conditional_normal():
    """About 80 cells, each within 5 standard errors: 1 of 5,000 such tests fails by chance."""
    part = rows(30)
    found = answers.impute(WithFloats(), part, draws=DRAWS, seed=1)
    mean, covariance = exact(part)
    cells = found.cells
    places = [COLUMNS.index(name) for name in cells.column]
    sd = covariance[cells["row"], places, places].sqrt().numpy()
    size = DRAWS / 2  # effective draws, at least
    deviation = (cells.value.astype(float) - mean[cells["row"], places].numpy()) / sd
    assert np.abs(deviation).max() < 5 / np.sqrt(size)
    assert deviation.abs().max() > 0
    for name, level in (("low", 0.05), ("high", 0.95)):
        normal = torch.distributions.Normal(0.0, 1.0)
        quantile = float(normal.icdf(torch.tensor(level)))
        density = float(normal.log_prob(torch.tensor(quantile)).exp())
        error = np.sqrt(level * (1 - level) / size) / density
        ends = mean[cells["row"], places].numpy() + quantile * sd
        assert np.abs((cells[name].astype(float) - ends) / sd).max() < 5 * error
    assert cells.trusted.all()


def test_known_cells_stay_and_imputations_are_drawn_together():
    """Covariances of 1000 imputations, within 6 standard errors of the exact ones."""
    part = rows(4, missing=0.5)
    x, seen = part.batch
    found = answers.impute(WithFloats(), part, imputations=1000, draws=DRAWS)
    values = found.table[list(COLUMNS)].to_numpy().reshape(1000, 4, masked.FEATURES)
    assert found.table.imputation.tolist()[:5] == [0, 0, 0, 0, 1]
    known = seen.numpy() > 0
    assert np.array_equal(values[:, known], np.broadcast_to(x.numpy()[known], (1000, known.sum())))
    _, covariance = exact(part)
    compared = 0
    for row in range(4):
        gaps = np.flatnonzero(~known[row])
        if len(gaps) > 1:
            wanted = covariance[row].numpy()[np.ix_(gaps, gaps)]
            got = np.cov(values[:, row, gaps].T)
            scale = np.sqrt(np.outer(wanted.diagonal(), wanted.diagonal()))
            assert np.abs(got - wanted).max() < 6 * scale.max() * np.sqrt(2 / 500)
            compared += 1
    assert compared


def test_tables_are_completed_in_their_own_values():
    generator = np.random.default_rng(0)
    size = np.round(generator.normal(5, 1, 60), 1)
    color = np.where(size > 5, "blue", "red").astype(object)
    color[:6], name = None, [f"car {number}" for number in range(60)]
    year = generator.integers(1990, 2000, 60).astype(float)
    year[10:15] = np.nan
    frame = {"id": name, "color": color, "size": size, "year": year}
    cars = data.table(frame, id="id", types={"year": "real"})
    torch.manual_seed(0)
    found = answers.impute(ppvae.pairs.assemble(cars, latent=2), cars, draws=100)
    table, cells = found.table, found.cells
    assert list(table) == ["row", "id", "color", "size", "year"]
    assert table["id"].tolist() == name
    assert set(table.color) == {"blue", "red"}
    assert table["size"].astype(str).tolist() == size.astype(str).tolist()
    assert table.year.dtype == np.int64
    assert cells.column.tolist() == ["color"] * 6 + ["year"] * 5
    of_color = cells[cells.column == "color"]
    assert of_color.probability.between(0.5, 1).all() and of_color.low.isna().all()


def test_a_pair_of_complete_rows_is_refused():
    whole = data.colors(60)
    pair = ppvae.pairs.assemble(whole, latent=2)
    with pytest.raises(ppvae.Unsupported, match="trained on complete rows"):
        answers.impute(pair, whole)


class Far(masked.Within):
    """Its guide is narrow and 1 beside the posterior."""

    def guide(self, x, seen):
        loc, precision = masked.posterior(x, seen)
        with pyro.plate("data", len(x)):
            normal = dist.MultivariateNormal(loc + 1, precision_matrix=20 * precision)
            pyro.sample("z", normal)


def test_refined_draws_impute_the_conditional_where_the_guide_is_far_from_it():
    """About 16 cells, each within 5 standard errors: 1 of 10,000 such tests fails by chance."""
    part = rows(6)
    mean, covariance = exact(part)

    def deviations(found):
        cells = found.cells
        places = [COLUMNS.index(name) for name in cells.column]
        sd = covariance[cells["row"], places, places].sqrt().numpy()
        return (cells.value.astype(float) - mean[cells["row"], places].numpy()) / sd

    plain = answers.impute(Far(), part, draws=1000, seed=1)
    refined = answers.impute(Far(), part, draws=1000, refine=True, seed=1)
    assert refined.cells.trusted.all()
    assert not plain.cells.trusted.any()
    limit = 5 / np.sqrt(300)  # effective draws, at least
    assert 0 < deviations(refined).abs().max() < limit
    assert deviations(plain).abs().max() > limit
