"""Disentanglement and probes on representations that are made so that the answer is known."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.distributions import constraints

import ppvae
from ppvae import data, diagnostics
from ppvae.diagnostics.latents.factor_scores import (
    binned,
    concentration_scores,
    information_gap,
    predictability_gap,
)


class Encoded:
    """q(z|x) = N(x A, 0.1^2 I): the posterior means are the data times a matrix."""

    def __init__(self, matrix):
        self.matrix = torch.as_tensor(matrix, dtype=torch.float32)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(self.matrix.shape[1]), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z.sum(-1, True), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x @ self.matrix, 0.1).to_event(1))


def made(rows=3000, noise=0, **arguments):
    """Two independent uniform factors, which are the data, with columns of noise beside them."""
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(rows, 2 + noise, generator=generator)
    factors = {"first": values[:, 0], "second": values[:, 1]}
    return data.split("made", values, constraints.real, **{"factors": factors, **arguments})


def scores(matrix, dataset, **arguments):
    result = diagnostics.disentanglement(Encoded(matrix), dataset, resamples=4, **arguments)
    return result.value.to_series().to_dict(), result.standard_error


def rotation(angle):
    return torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])


def test_factors_themselves_score_one():
    values, errors = scores(torch.eye(2), made())
    assert values["sap"] == pytest.approx(1, abs=0.01)
    assert values["mig"] == pytest.approx(1, abs=0.03)
    for name in ("disentanglement", "completeness", "informativeness"):
        assert values[name] > 0.98
    assert bool((errors > 0).all())
    assert bool((errors < 0.02).all())


def test_order_and_scale_of_dimensions_do_not_matter():
    values, _ = scores([[0.0, 0.0, 5.0], [-0.1, 0.0, 0.0]], made())  # one dimension is dead
    assert values["sap"] == pytest.approx(1, abs=0.01)
    assert values["mig"] == pytest.approx(1, abs=0.03)
    assert values["disentanglement"] > 0.98
    assert values["completeness"] > 0.98


def test_rotation_by_half_a_right_angle_scores_near_zero():
    values, _ = scores(rotation(math.pi / 4), made())
    assert values["mig"] < 0.05
    assert values["sap"] < 0.05
    assert values["disentanglement"] < 0.1
    assert values["completeness"] < 0.1
    assert values["informativeness"] > 0.9  # what is known is not lost, only mixed


def test_noise_scores_zero():
    values, _ = scores([[0.0, 0.0]] * 2 + [[1.0, 0.0], [0.0, 1.0]], made(noise=2))
    assert values["mig"] == pytest.approx(0, abs=0.02)
    assert values["sap"] == pytest.approx(0, abs=0.01)
    assert values["disentanglement"] < 0.1
    assert values["informativeness"] < 0.05


def test_information_gap_of_a_known_table():
    # z1 = v, z2 = v with half of its values replaced at random, v uniform over 4 values.
    generator = np.random.default_rng(0)
    v = generator.integers(4, size=100_000)
    z = np.where(generator.random(len(v)) < 0.5, v, generator.integers(4, size=len(v)))
    stay, move = 0.5 + 0.5 / 4, 0.5 / 4
    entropy = -(stay * math.log(stay) + 3 * move * math.log(move))
    exact = entropy / math.log(4)  # 1 - I(z2; v) / H(v), I = log 4 - entropy
    gap = information_gap(np.stack([v, z], 1) * 1.0, v[:, None] * 1.0, 20)
    assert gap == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("levels", [(2, 2, 2), (5, 8, 3), (10, 10, 10), (20, 20, 20), (30, 45, 9)])
@pytest.mark.parametrize("noise", [0.0, 0.01, 0.1])
def test_codes_that_are_the_factors_score_one(levels, noise):
    generator = np.random.default_rng(0)
    v = np.stack([generator.integers(count, size=2000) for count in levels], 1).astype(float)
    codes = np.hstack([v, v[:, :1]]) + noise * generator.normal(size=(2000, 4))
    # The second best code of a factor knows nothing of it, but for the noise of its estimate.
    assert information_gap(codes[:, :3], v, 20) == pytest.approx(1, abs=0.015)
    # One factor of the three has two codes: its gap is 0.
    assert information_gap(codes, v, 20) == pytest.approx(2 / 3, abs=0.015)
    assert information_gap(-np.exp(codes / 8), v, 20) == pytest.approx(2 / 3, abs=0.015)


def test_codes_that_are_rare_levels_and_codes_of_noise():
    generator = np.random.default_rng(0)
    v = generator.choice(5, p=[0.6, 0.3, 0.07, 0.02, 0.01], size=(2000, 2)).astype(float)
    codes = v + 0.02 * generator.normal(size=v.shape)
    assert information_gap(codes, v, 20) == pytest.approx(1, abs=0.015)
    independent = [
        information_gap(generator.normal(size=(2000, 1)), v[:, :1], 20) for _ in range(60)
    ]
    # Counts alone would say 0.02. An unbiased estimate of standard deviation 0.004, set to 0
    # where it is negative, has the mean 0.0017: above 0.003 in one of 20,000 runs.
    assert np.mean(independent) < 0.003


def test_knowledge_of_rare_levels_is_the_exact_one():
    # z is v with half of its values replaced by draws of the same law.
    generator = np.random.default_rng(0)
    law = np.array([0.6, 0.3, 0.07, 0.02, 0.01])
    table = 0.5 * np.diag(law) + 0.5 * np.outer(law, law)
    exact = (table * np.log(table / np.outer(law, law))).sum() / -(law @ np.log(law))
    gaps = []
    for _ in range(200):
        v, other = generator.choice(5, p=law, size=(2, 300)).astype(float)
        z = np.where(generator.random(300) < 0.5, v, other)
        gaps.append(information_gap(z[:, None], v[:, None], 20))
    # Five standard errors are 0.016, what is left of the bias is 0.006; counts alone have 0.026.
    assert abs(np.mean(gaps) - exact) < 5 * np.std(gaps) / 200**0.5


def test_bias_of_counts_is_taken_off():
    generator = np.random.default_rng(0)
    gaps = [
        information_gap(generator.random((400, 1)), generator.random((400, 1)), 5)
        for _ in range(50)
    ]
    # Counts alone would say (5 - 1)^2 / (2 * 400) / log 5 = 0.0124 of independent numbers.
    assert abs(np.mean(gaps)) < 0.005


def test_bins_hold_equally_many():
    values = np.random.default_rng(0).normal(size=1000)
    assert np.bincount(binned(values, 20)).tolist() == [50] * 20
    assert np.bincount(binned(np.round(values > 0) * 1.0, 20)).sum() == 1000


def test_predictability_gap_is_that_of_squared_correlations():
    values = np.random.default_rng(0).normal(size=(500, 3))
    factor = values[:, :1] + 0.5 * values[:, 1:2]
    squared = np.corrcoef(np.hstack([values, factor]).T)[3, :3] ** 2
    exact = np.sort(squared)[-1] - np.sort(squared)[-2]
    assert predictability_gap(values, factor) == pytest.approx(exact)


def test_importances_by_hand():
    matrix = np.array([[3.0, 1.0], [0.0, 4.0], [0.0, 0.0]])
    first = 1 - (-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(2))
    second = 1 - (-(0.2 * math.log(0.2) + 0.8 * math.log(0.8)) / math.log(3))
    disentangled, complete = concentration_scores(matrix)
    assert disentangled == pytest.approx(0.5 * first + 0.5)
    assert complete == pytest.approx((1 + second) / 2)


@pytest.mark.verify
def test_bootstrap_error_is_that_of_new_data():
    # The gap of a noisy correlation, over many datasets and from the bootstrap of each.
    gaps, errors = [], []
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        values = torch.randn(300, 2, generator=generator)
        factors = {
            "a": values[:, 0] + torch.randn(300, generator=generator),
            "b": values[:, 1] + torch.randn(300, generator=generator),
        }
        dataset = data.split("noisy", values, constraints.real, factors=factors, seed=seed)
        result = diagnostics.disentanglement(
            Encoded(torch.eye(2)), dataset, resamples=10, bins=5, seed=seed
        )
        gaps.append(float(result.value.sel(score="sap")))
        errors.append(float(result.standard_error.sel(score="sap")))
    # The spread of 60 datasets has a relative error of 9 %, and is told from 4 of these.
    ratio = math.sqrt(np.square(errors).mean()) / np.std(gaps, ddof=1)
    assert 0.65 < ratio < 1.4


@pytest.mark.parametrize(
    ("dataset", "arguments", "error", "message"),
    [
        (torch.zeros(9, 2), {}, TypeError, "disentanglement needs a dataset.*got Tensor"),
        (
            data.segments(50),
            {},
            ppvae.Unsupported,
            "at least 2 known factors, got 1 in 'segments'",
        ),
        (data.digits(), {}, ppvae.Unsupported, "at least 2 known factors, got 0 in 'digits'"),
        (made(50), {"bins": 1}, ValueError, "bins >= 2, got 1"),
        (made(50), {"resamples": 1}, ValueError, "resamples >= 2, got 1"),
        (
            made(50, factors={"a": torch.zeros(50), "b": torch.rand(50)}),
            {},
            ppvae.Unsupported,
            "factor 'a' of dataset 'made' is constant",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(dataset, arguments, error, message):
    with pytest.raises(error, match=message):
        diagnostics.disentanglement(Encoded(torch.eye(2)), dataset, **arguments)


def test_probes_of_classes_that_one_dimension_knows():
    generator = torch.Generator().manual_seed(2)
    labels = torch.randint(3, (2000,), generator=generator)
    values = torch.stack([labels * 10.0, torch.randn(2000, generator=generator)], 1)
    dataset = data.split("classes", values, constraints.real, labels=labels)
    knows = diagnostics.probes(Encoded([[1.0], [0.0]]), dataset).accuracy
    assert bool((knows == 1).all())
    blind = diagnostics.probes(Encoded([[0.0], [1.0]]), dataset)
    chance = blind.accuracy.sel(representation="posterior mean")
    assert bool((abs(chance - 1 / 3) < 4 * math.sqrt(2 / 9 / 200)).all())
    assert bool((blind.accuracy.sel(representation="data") == 1).all())
    share = float(
        (dataset.labels["test"] == dataset.labels["train"].mode().values).double().mean()
    )
    assert float(blind.majority) == pytest.approx(share)
    assert float(blind.majority_error) == pytest.approx(math.sqrt(share * (1 - share) / 200))


def test_probe_reaches_the_error_of_two_normals():
    # Classes at -1 and 1 with unit noise: the best classifier, a linear one, is right Phi(1).
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(2, (20_000,), generator=generator)
    values = (2.0 * labels - 1 + torch.randn(20_000, generator=generator))[:, None]
    dataset = data.split("normals", values, constraints.real, labels=labels)
    result = diagnostics.probes(Encoded([[1.0]]), dataset, rows=5000)
    best = float(torch.special.ndtr(torch.tensor(1.0)))
    linear = result.sel(representation="posterior mean", probe="linear")
    assert abs(float(linear.accuracy) - best) < 4.5 * float(linear.standard_error)
    # The nearest of many neighbors is right with probability E[p^2 + (1 - p)^2] (Cover and Hart).
    grid = torch.linspace(-9, 9, 10_001, dtype=torch.float64)
    p = torch.sigmoid(2 * grid)
    density = (torch.exp(-0.5 * (grid - 1) ** 2) + torch.exp(-0.5 * (grid + 1) ** 2)) / 2
    right = float(((p**2 + (1 - p) ** 2) * density).sum() / density.sum())
    nearest = result.sel(representation="posterior mean", probe="nearest")
    assert abs(float(nearest.accuracy) - right) < 4.5 * float(nearest.standard_error) + 0.005


def test_labels_of_ones_own_and_what_is_refused():
    dataset = made(100)
    pair = Encoded(torch.eye(2))
    own = {split: dataset.factors[split][:, 0] > 0.5 for split in ("train", "test")}
    assert float(diagnostics.probes(pair, dataset, labels=own).accuracy.min()) > 0.6
    with pytest.raises(ppvae.Unsupported, match="labels of the 'train' split of dataset 'made'"):
        diagnostics.probes(pair, dataset)
    with pytest.raises(ValueError, match=r"'test' split have shape \(3,\); expected \(10,\)"):
        diagnostics.probes(pair, dataset, labels={**own, "test": torch.zeros(3)})
    with pytest.raises(ppvae.Unsupported, match="at least 2 classes"):
        one = {split: torch.zeros(len(values)) for split, values in own.items()}
        diagnostics.probes(pair, dataset, labels=one)
    with pytest.raises(TypeError, match="probes needs a dataset.*got Tensor"):
        diagnostics.probes(pair, dataset.train)
