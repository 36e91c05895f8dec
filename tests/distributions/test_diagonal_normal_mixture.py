"""The mixture of normals against torch's, and its derivatives against integrals."""

from unittest import mock

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from ppvae.distributions import DiagonalNormalMixture
from tests.marks import slow_but

DRAWS = 100_000
FALSE_ALARM_ERRORS = 4.5  # standard errors, passed by chance once in 150,000 comparisons


def parameters(*batch, components=3, features=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    double = {"generator": generator, "dtype": torch.float64}
    return (
        torch.randn(*batch, components, **double),
        1.5 * torch.randn(*batch, components, features, **double),
        0.5 + torch.rand(*batch, components, features, **double),
    )


def reference(logits, loc, scale):
    return MixtureSameFamily(Categorical(logits=logits), Independent(Normal(loc, scale), 1))


def test_density_and_moments_are_those_of_torch():
    values = parameters(4, 5)
    mixture, known = DiagonalNormalMixture(*values), reference(*values)
    z = mixture.sample((6,))
    assert z.shape == (6, 4, 5, 2)
    torch.testing.assert_close(mixture.log_prob(z), known.log_prob(z))
    torch.testing.assert_close(mixture.mean, known.mean)
    torch.testing.assert_close(mixture.variance, known.variance)


def test_draws_have_the_moments_of_their_own_row():
    torch.manual_seed(0)
    mixture = DiagonalNormalMixture(*parameters(3))
    z = mixture.expand((2, 3)).rsample((DRAWS // 2,)).transpose(0, 1).flatten(0, 1)
    error = (mixture.variance / DRAWS).sqrt()
    assert bool(((z.mean(0) - mixture.mean).abs() < FALSE_ALARM_ERRORS * error).all())
    squares = (z - mixture.mean).square()
    error = squares.std(0) / DRAWS**0.5
    assert bool(((squares.mean(0) - mixture.variance).abs() < FALSE_ALARM_ERRORS * error).all())


def test_rows_under_a_sample_shape_are_not_mixed_up():
    loc = torch.arange(3.0)[:, None, None].expand(3, 2, 2) * 100
    mixture = DiagonalNormalMixture(torch.zeros(3, 2), loc, torch.ones(3, 2, 2))
    z = mixture.sample((5,))
    assert bool(((z / 100).round() == torch.arange(3.0)[:, None]).all())


def uniforms(z, logits, loc, scale):
    """Return u_i = F(z_i | z_1, ..., z_(i-1)), one coordinate after the other."""
    weights, found = logits.softmax(-1), []
    for i in range(len(z)):
        normal = Normal(loc[:, i], scale[:, i])
        found.append((weights * normal.cdf(z[i])).sum())
        weights = weights * normal.log_prob(z[i]).exp()
        weights = weights / weights.sum()
    return torch.stack(found)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("components", "features"), [(1, 2), (2, 1), (3, 4)])
def test_draws_move_so_that_their_uniforms_stay(components, features, seed):
    values = parameters(components=components, features=features, seed=seed)

    def moved(*values):
        torch.manual_seed(seed)
        return DiagonalNormalMixture(*values).rsample()

    z = moved(*values)
    along = torch.autograd.functional.jacobian(uniforms, (z, *values), strict=False)
    for movement, change in zip(
        torch.autograd.functional.jacobian(moved, values), along[1:], strict=True
    ):
        left = torch.tensordot(along[0], movement, 1)
        torch.testing.assert_close(left, -change, rtol=1e-9, atol=1e-12)


def score(z):
    return (z[..., 0] - 0.3) ** 2 + (1.5 * z).sin().prod(-1)


def grid(features, points=801):
    line = torch.linspace(-12, 12, points, dtype=torch.float64)
    return torch.cartesian_prod(*[line] * features).reshape(-1, features), (24 / (points - 1))


@pytest.mark.parametrize("features", [1, 2])
@pytest.mark.parametrize("seed", slow_but({0}, range(3)))
def test_gradient_of_a_mean_over_draws_is_that_of_the_integral(features, seed):
    torch.manual_seed(seed)
    values = [
        part.requires_grad_()
        for part in parameters(components=3, features=features, seed=10 * seed + features)
    ]
    points, step = grid(features)
    density = reference(*values).log_prob(points).exp()
    assert density.sum().item() * step**features == pytest.approx(1, abs=1e-9)
    exact = torch.autograd.grad((density * score(points)).sum() * step**features, values)
    many = [part.detach().expand(DRAWS, *part.shape).clone().requires_grad_() for part in values]
    drawn = torch.autograd.grad(score(DiagonalNormalMixture(*many).rsample()).sum(), many)
    for known, gradients in zip(exact, drawn, strict=True):
        error = gradients.std(0) / DRAWS**0.5
        assert bool(((gradients.mean(0) - known).abs() < FALSE_ALARM_ERRORS * error).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_component_is_a_normal(dtype):
    torch.manual_seed(0)
    loc = torch.randn(5, 1, 3, dtype=dtype, requires_grad=True)
    scale = (torch.rand(5, 1, 3, dtype=dtype) + 0.1).requires_grad_()
    logits = torch.randn(5, 1, dtype=dtype, requires_grad=True)
    mixture = DiagonalNormalMixture(logits, loc, scale)
    normal = Independent(Normal(loc.squeeze(-2), scale.squeeze(-2)), 1)
    z = mixture.rsample()
    torch.testing.assert_close(mixture.log_prob(z), normal.log_prob(z))
    cotangent = torch.randn(5, 3, dtype=dtype)
    gradients = torch.autograd.grad((z * cotangent).sum(), (logits, loc, scale))
    standard = (z - loc.squeeze(-2)) / scale.squeeze(-2)
    torch.testing.assert_close(gradients[0], torch.zeros_like(logits))
    torch.testing.assert_close(gradients[1].squeeze(-2), cotangent)
    torch.testing.assert_close(gradients[2].squeeze(-2), (cotangent * standard).detach())


@pytest.mark.parametrize("scale", [1e-2, 1e-10, 1e-19, 1e-25])
@pytest.mark.parametrize("distance", [0.0, 1.0, 10.0, 1000.0])
def test_gradients_are_finite_in_single_precision(distance, scale):
    torch.manual_seed(0)
    loc = (distance * torch.tensor([[0.0] * 3, [1.0] * 3])).expand(10_000, 2, 3).clone()
    values = [torch.zeros(10_000, 2), loc, torch.full_like(loc, scale)]
    for part in values:
        part.requires_grad_()
    mixture = DiagonalNormalMixture(*values)
    z = mixture.rsample()
    for gradient in torch.autograd.grad((z.square().sum(-1) + mixture.log_prob(z)).sum(), values):
        assert bool(gradient.isfinite().all())


def test_weights_keep_their_digits_in_single_precision():
    # Components of one first coordinate, in the second 5000 standard deviations apart.
    def gradient(dtype):
        loc = torch.tensor([[0.0, 0.0], [0.5, 5.0]], dtype=dtype)
        scale = torch.tensor([1.0, 0.001], dtype=dtype).expand(2, 2)
        logits = torch.tensor([0.0, 0.3], dtype=dtype, requires_grad=True)
        with mock.patch("torch.randn_like", lambda like: torch.full_like(like, 0.3)):
            torch.manual_seed(0)
            z = DiagonalNormalMixture(
                logits.expand(20, 2), loc.expand(20, 2, 2), scale.expand(20, 2, 2)
            ).rsample()
        return torch.autograd.grad(z[:, 1].sum(), logits)[0].double()

    exact = gradient(torch.float64)
    torch.testing.assert_close(gradient(torch.float32), exact, rtol=1e-4, atol=0)


def test_shapes_and_parameters_are_checked():
    loc = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"got shapes \(3,\), \(2, 3\) and \(2, 3\)"):
        DiagonalNormalMixture(torch.zeros(3), loc, torch.ones(2, 3))
    with pytest.raises(ValueError, match="parameter scale"):
        DiagonalNormalMixture(torch.zeros(2), loc, loc, validate_args=True)
