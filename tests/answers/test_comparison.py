"""Which pair is best, and what is not compared."""

import numpy as np
import pytest
import torch
from torch.distributions import constraints

import ppvae
from ppvae import answers, data
from tests.linear_gaussian import LinearGaussian


def test_the_pair_of_the_law_of_the_data_is_best():
    near = {"orthogonal": True, "perturbation": 0.02}  # the posterior
    law, other = (LinearGaussian.random(0, noise=noise, **near) for noise in (0.7, 1.4))
    parts = data.split("x", law.draw(300, seed=1), constraints.real)
    rows = answers.rows_of(parts)
    table = answers.compare({"other": other.pair(), "law": law.pair()}, rows, draws=200)
    assert table.run.tolist() == ["law", "other"]
    x = parts.test
    paired = other.marginal.log_prob(x) - law.marginal.log_prob(x)
    assert np.isclose(table.difference[1], float(paired.mean()), atol=0.02)
    error = float(paired.std()) / np.sqrt(len(x))
    assert np.isclose(table.difference_error[1], error, rtol=0.05)
    assert answers.verdict(table).startswith("law is best at the 5 % level: ")
    alike = answers.compare({"a": law.pair(), "b": law.pair()}, rows, draws=50)
    assert answers.verdict(alike).startswith("none is best at the 5 % level: ")


def test_other_rows_are_not_compared():
    values = torch.randn(50, 3)
    labels = torch.arange(50) % 2
    first = data.split("x", values, constraints.real, labels=labels)
    again = data.split("x", values, constraints.real, labels=labels)
    answers.check_same_data({"a": first, "b": again})
    for other, why in (
        (data.split("x", values, constraints.real, seed=1), "rows are other rows of the data"),
        (data.split("x", 2 * values, constraints.real), "rows hold other values"),
        (first.conditional(), "one of them is given the class of each row"),
    ):
        with pytest.raises(ppvae.Unsupported, match=f"a and b are not compared: .*{why}"):
            answers.check_same_data({"a": first, "b": other})
