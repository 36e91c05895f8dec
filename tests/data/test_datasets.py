"""Datasets know their shape, support and splits."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.distributions import constraints

from ppvae import data


def test_digits_are_the_real_ones_each_once():
    digits = data.digits()
    x = torch.cat([digits.train, digits.validation, digits.test])
    labels = torch.cat([digits.labels[part] for part in ("train", "validation", "test")])
    images, targets = load_digits(return_X_y=True)
    rows = sorted(map(tuple, np.column_stack([x.numpy(), labels.numpy()])))
    assert rows == sorted(map(tuple, np.column_stack([images, targets])))
    assert digits.event_shape == (64,)
    assert digits.image_shape == (8, 8)
    assert bool(digits.support.check(x).all())


def test_split_is_the_same_each_time_and_leaves_the_random_state():
    state = torch.get_rng_state()
    assert torch.equal(data.digits().test, data.digits().test)
    assert torch.equal(torch.get_rng_state(), state)


def test_labels_stay_with_their_rows():
    values = torch.arange(50.0)[:, None]
    dataset = data.split("count", values, constraints.real, labels=torch.arange(50), seed=3)
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(dataset, part)[:, 0], dataset.labels[part].float())


@pytest.mark.parametrize("rows", [0, 1, 9])
def test_too_few_rows_are_refused(rows):
    with pytest.raises(ValueError, match="cannot be split"):
        data.split("few", torch.zeros(rows, 2), constraints.real)


def test_values_outside_the_support_are_refused():
    with pytest.raises(ValueError, match="20 value.* outside the support"):
        data.split("gray", torch.full((20, 1), 0.5), constraints.boolean)
