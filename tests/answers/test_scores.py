"""Scores of rows, against the exact log P(x) of a linear-Gaussian pair."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import constraints

import ppvae
from ppvae import answers, data, likelihoods, networks, posteriors, priors
from tests.linear_gaussian import LinearGaussian


def test_log_p_is_exact_within_its_error():
    """All of 60 rows lie within 5 standard errors: 1 of 30,000 such tests fails by chance."""
    law = LinearGaussian.random(0, orthogonal=True)
    x = law.draw(60, seed=1)
    table = answers.score(law.pair(), x, draws=1000, seed=2)
    exact = law.marginal.log_prob(x).numpy()
    deviations = (table.log_p - exact) / table.log_p_error
    assert np.abs(deviations).max() < 5
    assert 0.3 < np.square(deviations).mean() < 3  # the error is neither too small nor too large
    assert table.trusted.all() and (table.pareto_k < 0.7).all()


def test_ranks_count_from_the_lowest_and_rows_keep_their_names():
    law = LinearGaussian.random(0)
    x = law.draw(50, seed=1)
    x[31] += 20
    labels = torch.arange(50) % 3
    parts = data.split("x", x, constraints.real, labels=labels)
    table = answers.score(law.pair(), parts, split="all", draws=50)
    assert list(table.columns[:2]) == ["row", "label"]
    assert table["row"].tolist() == list(range(50)) and table.label.tolist() == labels.tolist()
    assert table.loc[table["rank"] == 1, "row"].item() == 31
    assert table.sort_values("rank").log_p.is_monotonic_increasing
    test = answers.score(law.pair(), parts, draws=50)
    assert test["row"].tolist() == parts.row_numbers("test").tolist()


def test_rows_with_missing_cells_are_no_less_anomalous():
    """Ranks of rows of independent columns do not follow the number of their known cells."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(400, 4, generator=random) + torch.tensor([0.0, 1, 2, 3])
    seen = (torch.rand(400, 4, generator=random) < 0.6).float()
    seen[:, 0] = 1
    normal = functools.partial(likelihoods.Normal, scale=1.0)
    middle = nn.Linear(1, 4)
    nn.init.zeros_(middle.weight)
    middle.bias.data = torch.tensor([0.0, 1, 2, 3])
    pair = ppvae.VAE(
        priors.StandardNormal(1),
        likelihoods.Columns(middle, [(4, normal)], masked=True),
        posteriors.DiagonalNormal(networks.First(nn.Linear(4, 2))),
    )
    parts = data.split("x", x, constraints.real)
    parts = replace(parts, seen={s: seen[rows] for s, rows in parts.rows.items()})
    table = answers.score(pair, parts, split="all", draws=50)
    cells = seen.sum(1).numpy()
    assert abs(np.corrcoef(table["rank"], cells)[0, 1]) < 0.2  # 4 standard errors
    assert np.corrcoef(table.log_p, cells)[0, 1] < -0.5


def test_a_row_that_the_pair_fails_on_comes_first():
    law = LinearGaussian.random(0)
    x = law.draw(5, seed=1)
    x[3] = 1e200
    with pytest.warns(UserWarning, match="row 3"):
        table = answers.score(law.pair(), x, draws=30)
    assert np.isnan(table.log_p[3]) or table.log_p[3] == -np.inf
    assert table["rank"][3] == 1 and not table.trusted[3]


def test_what_is_no_data_is_refused():
    with pytest.raises(TypeError, match=r"new_rows\(dataset, table\).*got str"):
        answers.score(LinearGaussian.random(0).pair(), "rows.csv")
    with pytest.raises(ValueError, match="split must be train, validation, test or all"):
        answers.rows_of(data.segments(100), "every")
