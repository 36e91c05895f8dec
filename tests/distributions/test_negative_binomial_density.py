"""Many negative binomial counts: the same values and derivatives, and little kept for them."""

import itertools
import math

import mpmath
import pytest
import torch

from ppvae.distributions import NegativeBinomial, negative_binomial_density
from ppvae.engine.compilation import capture

COUNTS = [0.0, 1.0, 700.0, 1e6]
MEANS = [1e-3, 50.0, 1e6]
R = [1e-3, 0.3, 9999.0, 10001.0, 1e7, 1e12]


@pytest.fixture
def in_pieces(monkeypatch):
    def switch(on):
        monkeypatch.setattr(negative_binomial_density, "_MANY", 1 if on else math.inf)
        monkeypatch.setattr(negative_binomial_density, "_PIECE", 13)

    return switch


def grid():
    rows = [*itertools.product(COUNTS, MEANS, R)]
    return torch.tensor(rows, dtype=torch.float64).reshape(4, 18, 3).unbind(-1)


def exact(x, mean, r):
    """Return the derivatives by log m and r, and those by both of them, as mpmath has them."""
    with mpmath.workdps(40):
        x, mean, r = (mpmath.mpf(float(value)) for value in (x, mean, r))
        total, share = x + r, mean / (r + mean)
        by_r = mpmath.digamma(total) - mpmath.digamma(r) - mpmath.log1p(mean / r)
        twice = mpmath.polygamma(1, total) - mpmath.polygamma(1, r) + 1 / r - 2 / (r + mean)
        values = (
            x - total * share,
            r * (by_r + 1 - total / (r + mean)),
            -total * share * (1 - share),
            (total / (r + mean) - 1) * share * r,
            r**2 * (twice + total / (r + mean) ** 2),
        )
        return [*map(float, values)]


def test_values_and_derivatives(in_pieces):
    given = grid()
    x, log_mean, r = given[0], given[1].log().requires_grad_(), given[2].requires_grad_()
    in_pieces(False)
    plain = NegativeBinomial(log_mean, r).log_prob(x)
    in_pieces(True)
    scores = NegativeBinomial(log_mean, r).log_prob(x)
    assert torch.equal(scores, plain) and "InPieces" in scores.grad_fn.name()
    slopes = torch.autograd.grad(scores.sum(), (log_mean, r), retain_graph=True)
    again = torch.autograd.grad(scores.sum(), (log_mean, r), create_graph=True)
    rows = [torch.autograd.grad(slope.sum(), (log_mean, r), retain_graph=True) for slope in again]
    # Those by r in units of r.
    got = [slopes[0], slopes[1] * r, rows[0][0], rows[1][0] * r, rows[1][1] * r.square()]
    cells = zip(*(value.detach().flatten() for value in (x, log_mean.exp(), r)), strict=True)
    expected = torch.tensor([exact(*cell) for cell in cells], dtype=torch.float64)
    torch.testing.assert_close(torch.stack(got, -1).flatten(0, 1), expected, rtol=1e-7, atol=1e-6)
    torch.testing.assert_close(again, slopes)
    torch.testing.assert_close(rows[0][1], rows[1][0], rtol=1e-7, atol=1e-7)


def test_shapes_that_broadcast_and_single_precision(in_pieces):
    in_pieces(True)
    x = torch.arange(30.0).reshape(5, 1, 6) % 4
    log_mean = torch.linspace(-2, 2, 6).requires_grad_()
    r = torch.tensor(0.7, requires_grad=True)
    got = NegativeBinomial(log_mean.expand(3, 6), r).log_prob(x)
    slopes = torch.autograd.grad(got.sum(), (log_mean, r))
    in_pieces(False)
    expected = NegativeBinomial(log_mean.expand(3, 6), r).log_prob(x)
    assert torch.equal(got, expected) and got.dtype == torch.float32
    torch.testing.assert_close(slopes, torch.autograd.grad(expected.sum(), (log_mean, r)))


def test_numbers_that_are_not_finite(in_pieces):
    rows = itertools.product((0.0, 2.0, math.nan), (0.0, math.inf, -math.inf), (1.0, math.inf))
    given = torch.tensor([*rows]).unbind(-1)
    scores = []
    for on in (False, True):
        in_pieces(on)
        scores.append(NegativeBinomial(*given[1:], validate_args=False).log_prob(given[0]))
    torch.testing.assert_close(*scores, rtol=0, atol=0, equal_nan=True)


def test_function_transforms(in_pieces):
    in_pieces(True)
    x, mean, r = grid()

    def log_prob(log_mean, r, x):
        return NegativeBinomial(log_mean, r, validate_args=False).log_prob(x)

    given = mean.log(), r, x
    assert torch.equal(torch.func.vmap(log_prob)(*given), log_prob(*given))
    slope = torch.func.grad(lambda *given: log_prob(*given).sum())(*given)
    log_mean = given[0].requires_grad_()
    (expected,) = torch.autograd.grad(log_prob(log_mean, r, x).sum(), log_mean)
    torch.testing.assert_close(slope, expected)


def test_a_graph_has_the_formula(in_pieces):
    in_pieces(True)
    x, mean, r = grid()

    def log_prob(x):
        return NegativeBinomial(mean.log(), r).log_prob(x)

    graph = capture(lambda mode, x: [log_prob(x)], [x])
    assert torch.equal(graph.module(x, *graph.lifted)[0], log_prob(x))
    assert "nonzero" not in graph.module.code


def test_the_arguments_alone_are_kept_for_the_gradient():
    rows, features = 64, 1024
    x = torch.arange(rows * features).reshape(rows, features).remainder(12).sub(10).clamp(min=0)
    log_mean, raw = torch.zeros(2, rows, features).requires_grad_()
    kept = {}

    def keep(tensor):
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        NegativeBinomial(log_mean, raw.exp()).log_prob(x.float()).sum()
    assert sum(kept.values()) <= 4 * rows * features * 4  # and the two halves share one storage
