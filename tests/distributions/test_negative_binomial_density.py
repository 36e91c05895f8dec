"""Many negative binomial counts: the same values and derivatives, and little kept for them."""

import itertools
import math

import pytest
import torch

from ppvae.distributions import NegativeBinomial, negative_binomial_density
from ppvae.engine.compilation import capture

COUNTS = [0.0, 1.0, 3.0, 700.0, 1e6]
MEANS = [1e-3, 1.0, 50.0, 1e6]
R = [1e-3, 0.3, 40.0, 9999.0, 10001.0, 1e7, 1e12]


@pytest.fixture
def in_pieces(monkeypatch):
    def switch(on):
        monkeypatch.setattr(negative_binomial_density, "_MANY", 1 if on else math.inf)
        monkeypatch.setattr(negative_binomial_density, "_PIECE", 13)

    return switch


def grid():
    rows = [*itertools.product(COUNTS, MEANS, R)]
    return torch.tensor(rows, dtype=torch.float64).reshape(4, 35, 3).unbind(-1)


def derivatives(x, mean, r):
    """Return log P(x), its derivatives by log m and log r, and the second derivatives."""
    logs = [mean.log().requires_grad_(), r.log().requires_grad_()]
    scores = NegativeBinomial(logs[0], logs[1].exp()).log_prob(x)
    first = torch.autograd.grad(scores.square().sum(), logs, create_graph=True)
    plain = torch.autograd.grad(scores.sum(), logs, retain_graph=True)
    second = [torch.autograd.grad(slope.sum(), logs, retain_graph=True) for slope in first]
    return scores, first, plain, second


def test_values_and_derivatives_are_those_of_the_formula(in_pieces):
    in_pieces(False)
    expected = derivatives(*grid())
    in_pieces(True)
    got = derivatives(*grid())
    assert "InPieces" in got[0].grad_fn.name()
    assert torch.equal(got[0], expected[0])
    for mine, theirs in zip(got[1:], expected[1:], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-7)


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
    _, tangent = torch.func.jvp(lambda log_mean: log_prob(log_mean, r, x), given[:1], (slope,))
    torch.testing.assert_close(tangent, slope.square(), rtol=1e-8, atol=1e-6)


def test_a_graph_has_the_formula(in_pieces):
    in_pieces(True)
    x, mean, r = grid()
    graph = capture(lambda mode, x: [NegativeBinomial(mean.log(), r).log_prob(x)], [x])
    assert torch.equal(
        graph.module(x, *graph.lifted)[0], NegativeBinomial(mean.log(), r).log_prob(x)
    )
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
