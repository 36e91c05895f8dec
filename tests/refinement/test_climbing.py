"""Climbs from several starts reach the modes, each with steps of its own."""

import pytest
import torch

from ppvae.refinement.climbing import climb
from ppvae.refinement.curvature import curvature_at


def with_gradient(function):
    def both(place):
        leaf = place.detach().requires_grad_()
        value = function(leaf)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
        return value.detach().nan_to_num(nan=-torch.inf), gradient.nan_to_num(0.0)

    return both


def valley(u):
    """Rosenbrock's function, whose only maximum is at (1, 1)."""
    return -((1 - u[..., 0]).square() + 20 * (u[..., 1] - u[..., 0].square()).square())


def test_every_start_reaches_the_end_of_a_curved_valley():
    starts = torch.tensor([[[-1.0, 1.0], [3.0, -2.0]], [[0.0, 0.0], [1.0, 1.0]]])
    ends, values = climb(with_gradient(valley), starts, torch.ones(2, 2), steps=200)
    assert torch.allclose(ends, torch.ones(2, 2, 2), atol=0.1)
    assert (values > -1e-3).all()


def test_widths_set_the_units_of_the_steps():
    scale = torch.tensor([1e3, 1e-3])
    bowl = with_gradient(lambda u: -(u / scale - 1).square().sum(-1) / 2)
    ends, _ = climb(bowl, torch.zeros(1, 1, 2), scale.expand(1, 2), steps=5)
    assert torch.allclose(ends / scale, torch.ones(2), atol=1e-3)


def test_a_step_out_of_the_support_is_shortened():
    inside = with_gradient(lambda u: (u - 2 * u.square()).sum(-1) + (1 - u).log().sum(-1))
    ends, values = climb(inside, torch.full((1, 1, 1), -3.0), torch.full((1, 1), 50.0), steps=60)
    assert values.isfinite().all()
    # d/du: 1 - 4 u - 1 / (1 - u) = 0 at u = 0
    assert abs(float(ends)) < 0.05


@pytest.mark.parametrize("guess", [0.2, 1.0, 30.0])
def test_the_curvature_gives_the_covariance_of_a_normal(guess):
    loadings = torch.tensor([[2.0, 0.0, 0.0], [1.0, 0.5, 0.0], [-1.0, 0.3, 1.0]])
    precision = torch.linalg.inv(loadings @ loadings.T)
    normal = with_gradient(lambda u: -torch.einsum("...i,ij,...j", u, precision, u) / 2)
    widths = precision.diagonal().rsqrt().expand(4, 3)
    found = curvature_at(normal, torch.zeros(4, 3), guess * widths)
    assert found.far.all() == (guess > 4 or guess < 0.25)
    again = curvature_at(normal, torch.zeros(4, 3), found.widths)
    assert torch.allclose(again.factor @ again.factor.mT, loadings @ loadings.T, rtol=1e-3)


def test_a_direction_without_curvature_gets_a_bounded_width():
    flat = with_gradient(lambda u: -u[..., 0].square() / 2 + 0 * u[..., 1])
    found = curvature_at(flat, torch.zeros(1, 2), torch.ones(1, 2))
    assert torch.allclose(found.factor[0].diagonal(), torch.tensor([1.0, 10.0]))
