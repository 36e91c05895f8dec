"""Tables with missing cells: the density is that of the cells that are known."""

import functools
import math

import numpy as np
import pytest
import torch
from torch import nn

import ppvae
from ppvae import data, diagnostics, likelihoods, pairs, posteriors, priors

WEIGHTS = torch.tensor([1.0, -2.0, 0.5, 1.5])
BIAS = torch.tensor([0.0, 1.0, -1.0, 3.0])
NOISE = 0.7


class Exact(nn.Module):
    """The mean and raw scale of the exact posterior, given the known cells of x."""

    def forward(self, x, seen):
        precision = 1 + (seen * (WEIGHTS / NOISE) ** 2).sum(-1, keepdim=True)
        loc = (seen * WEIGHTS * (x - BIAS)).sum(-1, keepdim=True) / NOISE**2 / precision
        raw = torch.expm1(precision**-0.5).log()
        return torch.cat([loc, raw], -1)


class Line(nn.Module):
    def forward(self, z):
        return z * WEIGHTS + BIAS


def pair():
    normal = functools.partial(likelihoods.Normal, scale=NOISE)
    return ppvae.VAE(
        prior=priors.StandardNormal(1),
        likelihood=likelihoods.Columns(Line(), [(1, normal), (3, normal)], masked=True),
        posterior=posteriors.DiagonalNormal(Exact()),
    )


def table(rows=50):
    random = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 1, generator=random) * WEIGHTS + BIAS
    x = x + NOISE * torch.randn(rows, 4, generator=random)
    seen = (torch.rand(rows, 4, generator=random) < 0.6).float()
    return x, seen


def exact(x, seen):
    values = []
    for row, known in zip(x.double(), seen.bool(), strict=True):
        covariance = torch.outer(WEIGHTS, WEIGHTS) + NOISE**2 * torch.eye(4)
        covariance, gap = covariance[known][:, known].double(), (row - BIAS)[known]
        quadratic = gap @ torch.linalg.solve(covariance, gap) if len(gap) else torch.tensor(0.0)
        values.append(
            -0.5 * (quadratic + torch.logdet(covariance) + len(gap) * math.log(2 * math.pi))
        )
    return np.array([float(value) for value in values])


def test_log_evidence_is_that_of_the_known_cells():
    x, seen = table()
    terms = diagnostics.evidence(pair(), (x, seen), draws=30)
    np.testing.assert_allclose(terms.log_evidence, exact(x, seen), atol=1e-4)
    np.testing.assert_allclose(terms.posterior_kl, 0, atol=1e-4)


def test_what_stands_in_a_missing_cell_does_not_matter():
    x, seen = table(8)
    other = torch.where(seen > 0, x, torch.full_like(x, 1e6))
    values = [diagnostics.evidence(pair(), (each, seen), draws=5) for each in (x, other)]
    np.testing.assert_array_equal(*(value.log_evidence.values for value in values))


def test_a_family_of_whole_vectors_has_no_missing_cells():
    groups = [(3, functools.partial(likelihoods.Multinomial, total_count=4))]
    columns = likelihoods.Columns(nn.Linear(1, 3), groups, masked=True)
    with pytest.raises(ValueError, match="Multinomial is one of whole vectors"):
        columns(torch.zeros(2, 1), torch.ones(2, 3))


def mixed(rows=60):
    """A table of every kind of column, a fifth of its cells missing."""
    random = np.random.default_rng(0)
    frame = {
        "far": 1e6 * (5 + random.normal(size=rows)),
        "tiny": random.normal(size=rows) * 1e-6,
        "income": random.lognormal(10, 1.5, rows),
        "visits": random.poisson(4, rows) * random.integers(0, 9, rows),
        "share": np.clip(random.random(rows), 0.02, 0.98),
        "smoker": random.choice(["no", "yes"], rows),
        "region": random.choice(["east", "north", "south", "west"], rows),
    }
    for name in frame:
        cells = frame[name].astype(object)
        cells[random.random(rows) < 0.2] = None
        frame[name] = cells
    frame["group"] = random.choice(["a", "b", "c"], rows)
    return frame


@pytest.mark.parametrize("conditional", [False, True])
def test_a_table_with_gaps_is_trained_saved_and_sampled_in_its_own_values(conditional, tmp_path):
    dataset = data.table(mixed(), label="group")
    kinds = [type(column).__name__ for column in dataset.schema.columns]
    assert kinds == ["Real", "Real", "Positive", "Count", "Proportion", "Binary", "Category"]
    dataset = dataset.conditional() if conditional else dataset
    assert len(dataset.batch("test")) == 2 + conditional
    pair = pairs.assemble(dataset, latent=2)
    result = ppvae.fit(pair, dataset, epochs=3, compile=False)
    assert math.isfinite(float(result.history.validation_loss[-1]))
    ppvae.save(pair, tmp_path)
    loaded = ppvae.load(tmp_path)
    one, other = (diagnostics.evidence(p, dataset, draws=5) for p in (pair, loaded))
    np.testing.assert_array_equal(one.log_evidence, other.log_evidence)
    x = pair.sample(50, *(part[:1] for part in dataset.batch("test")[1:]))[:, 0]
    assert bool(dataset.support.check(x).all())
    table = dataset.schema.decode(x)
    assert set(table["region"]) <= {"east", "north", "south", "west"}
    assert table["visits"].dtype.kind == "i" and table["visits"].min() >= 0
    assert 1e5 < abs(table["far"]).max() < 1e8 and abs(table["tiny"]).max() < 1e-3
