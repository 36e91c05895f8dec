"""Masks are found wherever they stand, and hide what they hide in data that are simulated too."""

import math

import pyro.distributions as dist
import pytest
import torch

from ppvae import Unsupported
from ppvae.engine import (
    closed_form_kl,
    is_masked,
    isolated,
    run_pair,
    simulations,
    structure_of,
    unmasked,
    unnormalized,
)
from ppvae.engine.masks import misplaced_mask
from tests.masked import LOADINGS, NOISE, Around, Within, drawn

SEEN = torch.tensor([[True, False, True], [False, True, True]])
ROWS = torch.tensor([True, False])
VALUE = torch.tensor([[0.1, math.nan, 0.3], [math.nan, 0.5, 0.6]])
NORMAL = dist.Normal(torch.zeros(2, 3), 1.0)


def mixture(mask):
    """A mixture of four normals of three independent features."""
    components = dist.Normal(torch.zeros(2, 4, 3), 1.0).mask(mask).to_event(1)
    return dist.MixtureSameFamily(dist.Categorical(torch.ones(2, 4)), components)


FORMS = {
    "within": (NORMAL.mask(SEEN).to_event(1), SEEN),
    "outermost": (NORMAL.to_event(1).mask(ROWS), ROWS[:, None].expand(2, 3)),
    "both": (NORMAL.mask(SEEN).to_event(1).mask(ROWS), SEEN & ROWS[:, None]),
    "twice": (NORMAL.mask(SEEN).mask(ROWS[:, None]).to_event(1), SEEN & ROWS[:, None]),
    "expanded": (
        dist.Normal(torch.zeros(3), 1.0).mask(SEEN[0]).expand([2, 3]).to_event(1),
        SEEN[0].expand(2, 3),
    ),
    "transformed": (dist.LogNormal(torch.zeros(2, 3), 1.0).mask(SEEN).to_event(1), SEEN),
    "matrix": (dist.Normal(torch.zeros(2, 3, 2), 1.0).to_event(1).mask(SEEN).to_event(1), None),
    "mixture": (mixture(SEEN[:, None]), SEEN),
    "masked mixture": (
        dist.MaskedMixture(SEEN, NORMAL.mask(torch.tensor(False)), NORMAL).to_event(1),
        SEEN,
    ),
    "number": (NORMAL.mask(False).to_event(1), torch.zeros(2, 3, dtype=torch.bool)),
    "none": (NORMAL.mask(True).to_event(1), torch.ones(2, 3, dtype=torch.bool)),
    "nan": (dist.NanMaskedNormal(torch.zeros(2, 3), 1.0).to_event(1), SEEN),
    "nan vector": (dist.NanMaskedMultivariateNormal(torch.zeros(2, 3), torch.eye(3)), SEEN),
}


@pytest.mark.parametrize(("distribution", "expected"), FORMS.values(), ids=FORMS.keys())
def test_masks_are_found_at_any_depth(distribution, expected):
    nan = isinstance(getattr(distribution, "base_dist", distribution), dist.NanMaskedNormal)
    nan |= isinstance(distribution, dist.NanMaskedMultivariateNormal)
    value = VALUE if nan else VALUE.nan_to_num(1.0)
    if len(distribution.event_shape) == 2:
        value, expected = torch.ones(2, 3, 2), SEEN[..., None].expand(2, 3, 2)
    site = {"name": "x", "fn": distribution, "value": value, "mask": None}
    assert torch.equal(unmasked(site), expected)
    assert unnormalized("x", site) is None
    if not nan:  # a hidden number has no part in the density
        other = torch.where(expected, value, 2.5)
        assert torch.equal(distribution.log_prob(value), distribution.log_prob(other))
    around = unmasked({**site, "mask": ROWS})
    assert torch.equal(around, expected & ROWS.reshape(2, *(1,) * (expected.dim() - 1)))


MISPLACED = {
    "base of a transform": dist.TransformedDistribution(
        NORMAL.mask(SEEN), [dist.transforms.ExpTransform()]
    ),
    "components masked differently": mixture(torch.rand(2, 4, 3) < 0.5),
    "inflated": dist.ZeroInflatedDistribution(
        dist.Poisson(torch.ones(2, 3)).mask(SEEN), gate=torch.tensor(0.5)
    ).to_event(1),
}


@pytest.mark.parametrize("distribution", MISPLACED.values(), ids=MISPLACED.keys())
def test_masks_that_hide_no_whole_number_are_named(distribution):
    assert "mask" in misplaced_mask(distribution)
    site = {"name": "x", "fn": distribution, "value": torch.ones(2, 3), "mask": None}
    assert unnormalized("x", site) == misplaced_mask(distribution)


def test_hidden_numbers_may_lie_outside_the_support():
    positive = dist.Gamma(torch.ones(2, 3), 1.0, validate_args=False)
    site = {"name": "x", "value": torch.where(SEEN, 1.0, -1.0), "mask": None}
    assert unnormalized("x", {**site, "fn": positive.mask(SEEN).to_event(1)}) is None
    shown = unnormalized("x", {**site, "fn": positive.to_event(1)})
    assert "2 of 2 observations" in shown


def test_a_kl_of_different_masks_has_no_closed_form():
    other = dist.Normal(torch.ones(2, 3), 1.0)
    assert closed_form_kl(other.mask(SEEN).to_event(1), NORMAL.mask(~SEEN).to_event(1)) is None
    same = closed_form_kl(other.mask(SEEN).to_event(1), NORMAL.mask(SEEN.clone()).to_event(1))
    assert torch.equal(same, SEEN.sum(1) / 2)
    assert is_masked({"fn": NORMAL.mask(SEEN), "mask": None})
    assert not is_masked({"fn": NORMAL.to_event(1), "mask": None})


@pytest.mark.parametrize("kind", [Within, Around])
def test_simulated_data_keep_what_a_mask_hides(kind):
    x, seen = drawn(4000)
    with isolated(kind(), 0):
        parts = [part.batch[0] for part in simulations(kind(), (x, seen), 4000, 2**26)]
    found = torch.cat(parts)
    assert bool((found[~seen] == 0).all()) and bool((found[seen] != x[seen]).all())
    # Of each feature, the sum of squares over its variance has the law chi^2 of as many draws:
    # the 12 normal scores pass 4.5 with a probability of 8e-5.
    count, variance = seen.sum(0), LOADINGS.square().sum(0) + NOISE**2
    scores = (found.square().sum(0) / variance - count) / (2 * count).sqrt()
    assert float(scores.abs().max()) < 4.5


class Nan(Within):
    """Missing features are NaN within the model."""

    def model(self, x, seen):
        super().model(torch.where(seen, x, math.nan), seen)

    def likelihood(self, loc, seen, x):
        return dist.NanMaskedNormal(loc, NOISE).to_event(1)


def test_nan_masked_likelihoods_are_measured_or_refused_by_name():
    batch = drawn(30)
    with isolated(Nan(), 0):
        _, model = run_pair(Nan(), batch)
        assert torch.equal(unmasked(model["x"]), batch[1])
        assert not structure_of(Nan(), batch).unnormalized
        with pytest.raises(
            Unsupported, match="site 'x' observes something computed from the data"
        ):
            list(simulations(Nan(), batch, 30, 2**26))
