"""Drawn data show what their factors say."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch.distributions import constraints

from ppvae import data

FALSE_ALARM = 0.001


def all_of(dataset):
    parts = ("train", "validation", "test")
    return (
        torch.cat([getattr(dataset, part) for part in parts]),
        torch.cat([dataset.factors[part] for part in parts]),
    )


def test_length_is_what_a_segment_shows():
    x, (length,) = (lambda pair: (pair[0], pair[1].T))(all_of(data.segments(1000)))
    assert kstest((length.numpy() - 1) / 4, "uniform").pvalue > FALSE_ALARM
    # Two pixels thick; its rounded ends, both halves of them, add a constant.
    ink = x.sum(1)
    slope, _ = np.polyfit(length * 0.75 * 16 / 5, ink, 1)
    assert slope == pytest.approx(2, rel=0.02)
    assert float(x.min()) >= 0 and float(x.max()) <= 1


def test_three_lengths_overlap_exactly_unless_a_hand_drew_them():
    x, _ = all_of(data.segments(200, lengths=(1, 3, 5)))
    assert len(x.unique(dim=0)) == 3
    exact = data.segments(200, lengths=(1, 3, 5))
    assert sorted(exact.labels["train"].unique().tolist()) == [0, 1, 2]
    for hand in ({"jitter": 0.3}, {"wobble": 3.0}, {"noise": 0.05}):
        assert len(all_of(data.segments(200, lengths=(1, 3, 5), **hand))[0].unique(dim=0)) == 200


def test_hand_is_as_unsteady_as_stated():
    exact, _ = all_of(data.segments(2000, seed=3))
    noisy, _ = all_of(data.segments(2000, seed=3, noise=0.07))
    noise = (noisy - exact).flatten()
    assert float(noise.std()) == pytest.approx(0.07, rel=4 / np.sqrt(2 * len(noise)))
    assert data.segments(50, noise=0.07).support is constraints.real


def test_red_depends_on_the_size_of_its_factor_alone():
    x, z = all_of(data.colors(5000, noise=0.02))
    assert kstest(z[:, 0].numpy(), "norm").pvalue > FALSE_ALARM
    residual = x[:, 0] - data.redness(z[:, 0])
    assert kstest(residual.numpy() / 0.02, "norm").pvalue > FALSE_ALARM
    assert torch.equal(data.redness(z), data.redness(-z))
    depth = data.redness(torch.linspace(0, 3, 50))
    assert float(depth[0]) == 1 and bool((depth.diff() < 0).all())


def test_four_factors_are_what_a_square_shows():
    x, factors = all_of(data.factors(500))
    images = x.reshape(-1, 16, 16)
    mass = images.sum((1, 2))
    centers = (torch.arange(16) + 0.5) / 16
    expected = {
        "x": (images.sum(1) * centers).sum(1) / mass,
        "y": (images.sum(2) * centers).sum(1) / mass,
        "size": (mass / images.amax((1, 2))).sqrt() / 16,
        "brightness": images.amax((1, 2)),
    }
    for column, (name, values) in enumerate(expected.items()):
        # A pixel that is covered in part counts at its middle: (1/16)^2 / (8 * 0.2) off at most.
        assert torch.allclose(factors[:, column], values, atol=0.0025), name
    correlation = np.corrcoef(all_of(data.factors(10_000))[1].T)
    off_diagonal = correlation[~np.eye(4, dtype=bool)]
    assert np.abs(off_diagonal).max() < 4.1 / 100  # 12 values, false alarm 0.05 %


@pytest.mark.parametrize("make", [data.segments, data.colors, data.factors])
def test_same_seed_same_data(make):
    state = torch.get_rng_state()
    assert torch.equal(make(50).train, make(50).train)
    assert not torch.equal(make(50).train, make(50, seed=1).train)
    assert torch.equal(torch.get_rng_state(), state)


WRONG = {
    "no rows": (lambda: data.segments(0), "segments needs rows >= 1"),
    "no pixels": (lambda: data.factors(size=0), "factors needs rows >= 1 and size >= 1"),
    "negative noise": (lambda: data.colors(noise=-1), "colors needs noise to be a finite"),
    "NaN jitter": (lambda: data.segments(jitter=float("nan")), "segments needs jitter"),
    "too long": (lambda: data.segments(lengths=(1, 6)), r"lengths in \(0, 5\], got \[1, 6\]"),
    "no lengths": (lambda: data.segments(lengths=()), r"lengths in \(0, 5\], got \[\]"),
    "few rows": (lambda: data.colors(5), "cannot be split"),
}


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
