"""Distributions on the sphere, against integrals over the circle and over S^2."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch.distributions import kl_divergence
from torch.nn.functional import normalize

from ppvae.distributions import PowerSpherical, UniformSphere
from tests.marks import each_once

CONCENTRATIONS = [0.0, 0.5, 3.0, 40.0]
SAMPLES, FALSE_ALARM = 4000, 1e-4  # of each goodness-of-fit test
DRAWS = 100_000
FALSE_ALARM_ERRORS = 4.5  # standard errors, passed by chance once in 150,000 comparisons
DIRECTIONS = {
    "first axis": [1.0, 0.0, 0.0],
    "against it": [-1.0, 0.0, 0.0],
    "second axis": [0.0, 1.0, 0.0],
    "oblique": [0.6, -0.48, 0.64],
}


def line(points=400):
    """Return points from -1 to 1 and their weights, exact where functions end in a root too.

    Takahasi and Mori, "Double exponential formulas for numerical integration", 1974.
    """
    u = torch.linspace(-3.5, 3.5, points, dtype=torch.float64)
    inner = math.pi / 2 * u.sinh()
    return inner.tanh(), math.pi / 2 * u.cosh() / inner.cosh().square() * (u[1] - u[0])


def circle(loc):
    """Return points on the circle and their weights, with their ends opposite to `loc`."""
    place, weights = line()
    angle = math.pi * place[:, None]
    across = torch.stack([-loc[1], loc[0]])
    return angle.cos() * loc + angle.sin() * across, math.pi * weights


def two_sphere(loc, longitudes=60):
    """Return points on S^2 and their weights, with `loc` as their north pole."""
    height, weights = line()
    height, angle = height[:, None], torch.arange(longitudes).double() * 2 * math.pi / longitudes
    radius = (1 - height.square()).sqrt()
    across = normalize(torch.linalg.cross(loc, torch.tensor([0.1, 0.3, 0.9]).double()), dim=0)
    east, north = radius * angle.cos(), radius * angle.sin()
    points = height[..., None] * loc + east[..., None] * across
    points = points + north[..., None] * torch.linalg.cross(loc, across)
    each = (weights * 2 * math.pi / longitudes)[:, None].expand(-1, longitudes)
    return points.flatten(0, 1), each.flatten()


@pytest.fixture(params=[(2, circle), (3, two_sphere)], ids=["circle", "two-sphere"])
def sphere(request):
    return request.param


@pytest.mark.parametrize("concentration", CONCENTRATIONS)
def test_densities_integrals_and_entropies(sphere, concentration):
    features, integration = sphere
    loc = normalize(torch.tensor([0.6, -0.5, 0.7])[:features].double(), dim=0)
    points, weights = integration(loc)
    q = PowerSpherical(loc, torch.tensor(concentration).double())
    log_density = q.log_prob(points)
    mass = weights * log_density.exp()
    assert mass.sum().item() == pytest.approx(1, abs=1e-9)
    torch.testing.assert_close((mass[:, None] * points).sum(0), q.mean, rtol=0, atol=1e-9)
    assert q.entropy().item() == pytest.approx(-(mass * log_density).sum().item(), abs=1e-9)
    uniform = UniformSphere(torch.zeros(features).double())
    assert (weights * uniform.log_prob(points).exp()).sum().item() == pytest.approx(1, abs=1e-9)
    exact = (mass * (log_density - uniform.log_prob(points))).sum().item()
    assert kl_divergence(q, uniform).item() == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("features", [2, 3, 4, 10, 301])
def test_without_concentration_it_is_uniform(features):
    origin = torch.zeros(features).double()
    uniform = UniformSphere(origin)
    z = uniform.sample((100,))
    q = PowerSpherical(z[0], torch.zeros(()).double())
    torch.testing.assert_close(q.log_prob(z), uniform.log_prob(z), rtol=1e-12, atol=1e-12)
    assert kl_divergence(q, uniform).item() == pytest.approx(0, abs=1e-11)
    assert q.log_prob(-q.loc).item() == pytest.approx(uniform.log_prob(z[0]).item())


@pytest.mark.parametrize("loc", DIRECTIONS.values(), ids=DIRECTIONS.keys())
@pytest.mark.parametrize("concentration", CONCENTRATIONS)
def test_draws_on_the_two_sphere_follow_the_density(loc, concentration):
    torch.manual_seed(0)
    loc = torch.tensor(loc).double()
    z = PowerSpherical(loc, torch.tensor(concentration).double()).sample((SAMPLES,))
    closeness = stats.beta(1 + concentration, 1)
    assert stats.kstest((1 + z @ loc).numpy() / 2, closeness.cdf).pvalue > FALSE_ALARM
    across = torch.linalg.svd(loc[None]).Vh[1:]
    longitude = torch.atan2(z @ across[0], z @ across[1]).numpy()
    uniform = stats.uniform(-math.pi, 2 * math.pi)
    assert stats.kstest(longitude, uniform.cdf).pvalue > FALSE_ALARM


@pytest.mark.parametrize("loc", DIRECTIONS.values(), ids=DIRECTIONS.keys())
@pytest.mark.parametrize("concentration", CONCENTRATIONS)
def test_draws_on_the_circle_follow_the_density(loc, concentration):
    torch.manual_seed(0)
    loc = normalize(torch.tensor(loc[:2]).double(), dim=0)
    q = PowerSpherical(loc, torch.tensor(concentration).double())
    grid = torch.linspace(-math.pi, math.pi, 20_001, dtype=torch.float64)
    density = q.log_prob(torch.stack([grid.cos(), grid.sin()], -1)).exp()
    cumulative = integrate.cumulative_simpson(density.numpy(), x=grid.numpy(), initial=0)
    z = q.sample((SAMPLES,))
    angle = torch.atan2(z[:, 1], z[:, 0]).numpy()
    p_value = stats.kstest(angle, lambda v: np.interp(v, grid, cumulative)).pvalue
    assert p_value > FALSE_ALARM


@pytest.mark.parametrize("features", [2, 3, 6])
def test_draws_of_the_uniform_distribution_are_uniform(features):
    torch.manual_seed(0)
    z = UniformSphere(torch.zeros(features).double()).sample((SAMPLES,)).numpy()
    height = stats.beta((features - 1) / 2, (features - 1) / 2)
    for axis in range(features):
        assert stats.kstest((1 + z[:, axis]) / 2, height.cdf).pvalue > FALSE_ALARM


def test_moments_of_the_uniform_distribution(sphere):
    features, integration = sphere
    points, weights = integration(torch.eye(features).double()[0])
    uniform = UniformSphere(torch.zeros(features).double())
    share = (weights / weights.sum())[:, None]
    torch.testing.assert_close((share * points).sum(0), uniform.mean, rtol=0, atol=1e-12)
    torch.testing.assert_close((share * points**2).sum(0), uniform.variance)


@pytest.mark.parametrize(
    ("concentration", "loc"),
    each_once({value: value for value in (0.1, 1.0, 3.0, 40.0)}, DIRECTIONS),
)
def test_gradient_of_a_mean_over_draws_is_that_of_the_integral(sphere, loc, concentration):
    torch.manual_seed(0)
    features, integration = sphere
    direction = torch.tensor(loc[:features], dtype=torch.float64, requires_grad=True)
    raw = torch.tensor(concentration, dtype=torch.float64, requires_grad=True)

    def distribution(direction, raw):
        return PowerSpherical(normalize(direction, dim=-1), raw)

    def score(z):
        return z[..., 0] ** 3 + z[..., 0] * z[..., 1] + (2 * z[..., -1]).sin()

    points, weights = integration(normalize(direction, dim=-1))
    density = distribution(direction, raw).log_prob(points).exp()
    exact = torch.autograd.grad((weights * density * score(points)).sum(), (direction, raw))
    many = direction.detach().expand(DRAWS, -1).clone().requires_grad_()
    each = raw.detach().expand(DRAWS).clone().requires_grad_()
    total = score(distribution(many, each).rsample()).sum()
    for known, drawn in zip(exact, torch.autograd.grad(total, (many, each)), strict=True):
        error = drawn.std(0) / DRAWS**0.5
        assert bool(((drawn.mean(0) - known).abs() < FALSE_ALARM_ERRORS * error + 1e-12).all())


@pytest.mark.parametrize(
    ("concentration", "features"),
    each_once(
        {value: value for value in (0.0, 1e-6, 1.0, 1e3, 1e6, 1e9)},
        {value: value for value in (2, 3, 4, 50, 1000)},
    ),
)
def test_single_precision_holds_everywhere(features, concentration):
    """Values on the sphere, log densities as in double precision, gradients finite."""
    torch.manual_seed(0)
    rows = 2_000_000 // features // 20
    direction = torch.randn(rows, features)
    direction[: rows // 4] = 0
    direction[: rows // 8, 0] = 1
    direction[rows // 8 : rows // 4, 0] = -1
    direction[: rows // 16, 1] = 1e-6
    direction.requires_grad_()
    raw = torch.full((rows,), concentration, requires_grad=True)
    q = PowerSpherical(normalize(direction, dim=-1), raw, validate_args=True)
    z = q.rsample()
    error = (torch.linalg.vector_norm(z.detach().double(), dim=-1) - 1).abs().max()
    assert error < 0.2 * 10 * torch.finfo(torch.float32).eps * features**0.5
    loss = (z.pow(3).sum(-1) + q.log_prob(z) + q.entropy()).sum()
    for gradient in torch.autograd.grad(loss, (direction, raw)):
        assert bool(gradient.isfinite().all())
    double = PowerSpherical(
        normalize(q.loc.detach().double(), dim=-1), raw.detach().double(), validate_args=True
    )
    exact = double.log_prob(normalize(z.detach().double(), dim=-1))
    torch.testing.assert_close(q.log_prob(z).detach().double(), exact, rtol=2e-6, atol=2e-5)
    torch.testing.assert_close(
        q.entropy().detach().double(), double.entropy(), rtol=2e-6, atol=2e-5
    )


def test_values_off_the_sphere_are_refused():
    q = PowerSpherical(torch.tensor([0.6, 0.8]), torch.tensor(2.0), validate_args=True)
    uniform = UniformSphere(torch.zeros(2), validate_args=True)
    for distribution in (q, uniform, q.expand((3,)), uniform.expand((3,))):
        with pytest.raises(ValueError, match="support"):
            distribution.log_prob(torch.tensor([0.6, 0.81]))


def test_parameters_are_checked():
    with pytest.raises(ValueError, match="parameter loc"):
        PowerSpherical(torch.zeros(3), torch.tensor(1.0), validate_args=True)
    with pytest.raises(ValueError, match="parameter concentration"):
        PowerSpherical(torch.tensor([0.6, 0.8]), torch.tensor(-1.0), validate_args=True)
    with pytest.raises(ValueError, match=r"features >= 2, got shape \(1,\)"):
        PowerSpherical(torch.ones(1), torch.tensor(1.0))
    with pytest.raises(ValueError, match=r"features >= 2, got shape \(1,\)"):
        UniformSphere(torch.zeros(1))


def test_shapes_broadcast():
    q = PowerSpherical(torch.tensor([0.6, 0.8]), torch.ones(4, 1)).expand((4, 5))
    z = q.rsample((7,))
    assert (z.shape, q.log_prob(z).shape, q.entropy().shape) == ((7, 4, 5, 2), (7, 4, 5), (4, 5))
    uniform = UniformSphere(torch.zeros(2)).expand((4, 5))
    assert uniform.sample((7,)).shape == (7, 4, 5, 2)
    assert uniform.log_prob(z).shape == (7, 4, 5)


def test_kl_between_spheres_of_different_dimension_is_refused():
    q = PowerSpherical(torch.tensor([1.0, 0.0, 0.0]), torch.tensor(2.0))
    with pytest.raises(ValueError, match="on the same sphere, got 3 and 4 features"):
        kl_divergence(q, UniformSphere(torch.zeros(4)))
