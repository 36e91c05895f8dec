"""The search begins at the mode, with the curvature there: checked where both are known."""

import torch

from ppvae.engine import isolated, structure_of
from ppvae.refinement.elbo_maximization import elbo_of, log_joint
from ppvae.refinement.joint_densities import PlainDensity
from ppvae.refinement.joint_normal import uncorrelated_normal
from ppvae.refinement.own_family import guide_family
from ppvae.refinement.warm_start import at_mode, fitted_to
from tests import exact_pairs
from tests.correlated_gaussian import CorrelatedGaussian


def begun(pair, x):
    """The guide's family, the normal at the mode, and the density, of some datapoints."""
    with isolated(pair, 0):
        structure = structure_of(pair, (x,))
        family = guide_family(pair, (x,), structure)
        sites = family.latents.sites
        target = PlainDensity(lambda v: log_joint(pair, (x,), structure, sites, v, True))
        return family, at_mode(uncorrelated_normal(family), target), target


def test_a_normal_posterior_is_found_whole():
    pair = CorrelatedGaussian(2, shift=3.0, scale=0.3, diagonal=True)
    x = torch.randn(6, pair.latents, generator=torch.Generator().manual_seed(0))
    _, normal, _ = begun(pair, x)
    missed = torch.linalg.solve_triangular(
        normal.scale_tril, (normal.loc - x @ pair.slope.T)[..., None], upper=False
    )
    assert missed.norm(dim=1).max() < 0.1  # standard deviations: 0.005 nats below the mode
    covariance = normal.scale_tril @ normal.scale_tril.mT
    expected = pair.covariance.float().expand_as(covariance)
    torch.testing.assert_close(covariance, expected, rtol=2e-3, atol=1e-4)


def test_on_the_half_line_it_is_the_mode_of_the_logarithm():
    pair = exact_pairs.GammaPoisson()
    x = pair.simulate(6, 0)
    _, normal, _ = begun(pair, x)
    shape, rate = pair.concentration + x.sum(-1), pair.rate + pair.features
    # The density of u = log z is z^shape e^(-rate z): mode shape / rate, variance 1 / shape there.
    torch.testing.assert_close(normal.loc[:, 0], (shape / rate).log(), rtol=0, atol=0.02)
    torch.testing.assert_close(normal.scale_tril[:, 0, 0], shape.rsqrt(), rtol=2e-2, atol=0)


def test_the_guides_family_moves_there_where_that_is_better():
    pair = CorrelatedGaussian(2, shift=3.0, scale=0.3, diagonal=True)
    x = torch.randn(6, pair.latents, generator=torch.Generator().manual_seed(0))
    family, normal, target = begun(pair, x)
    with isolated(pair, 0):
        fitted = fitted_to(normal, family, target)
        risen = elbo_of(fitted, target, 8) - elbo_of(family, target, 8)
        best = guide_family(CorrelatedGaussian(2), (x,), structure_of(pair, (x,)))
        kept = fitted_to(normal, best, target)
    assert (risen > 5).all()  # 9 nats of four latents that are 3 sd off and a third as wide
    # The posterior itself cannot be bettered but by chance.
    assert (elbo_of(kept, target, 8) - elbo_of(best, target, 8)).abs().max() < 0.01
