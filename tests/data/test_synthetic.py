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


def test_series_of_a_state_space_have_its_moments():
    """Standard errors of a covariance are below 0.012; one of 24 is off by 5 of them by chance
    once in 70,000 runs."""
    turn, mix = torch.tensor([[0.5, -0.3], [0.2, 0.9]]), torch.tensor([[1.0, 0.0], [1.0, -1.0]])
    series = data.state_space(
        20_000, 3, transition=turn, emission=mix, inner=0.5, outer=0.4, seed=1
    )
    x = torch.cat([series.train, series.validation, series.test]).double().flatten(1)
    turn, mix = turn.double(), mix.double()
    rows, now = [], torch.zeros(2, 2).double()
    for step in range(3):
        now = turn @ now @ turn.T + 0.25 * torch.eye(2).double()
        noise = 0.16 * torch.eye(2).double()
        later = [mix @ torch.linalg.matrix_power(turn, ahead) @ now @ mix.T for ahead in range(3)]
        rows.append([noise + later[0], *later[1:]][: 3 - step])
    covariance = x.T.cov()
    for step, blocks in enumerate(rows):
        for ahead, block in enumerate(blocks):
            there, here = 2 * (step + ahead), 2 * step
            found = covariance[there : there + 2, here : here + 2]
            torch.testing.assert_close(found, block, rtol=0, atol=0.06)


def test_padded_steps_of_a_state_space_are_zero_after_each_length():
    series = data.state_space(200, 6, shortest=2)
    x, length = series.batch("train")
    assert sorted(length.unique().tolist()) == [2, 3, 4, 5, 6]
    assert torch.equal((x != 0).any(-1).sum(-1), length)
    with pytest.raises(ValueError, match="1 <= shortest <= steps, got 200, 7 and 6"):
        data.state_space(200, 6, shortest=7)
    with pytest.raises(ValueError, match="transition .* and emission"):
        data.state_space(transition=torch.eye(3))
