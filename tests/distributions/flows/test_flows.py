"""Flows against the Jacobian of automatic differentiation, integrals, and their limits."""

import copy
import functools
import gc
import itertools
import weakref

import pytest
import torch
from pyro.distributions import conditional, transforms
from scipy import integrate, stats
from torch import nn
from torch.distributions import AffineTransform, ComposeTransform

import ppvae
from ppvae import diagnostics, likelihoods, posteriors, priors
from ppvae.distributions import flows
from tests.contracts.graphs import trained_both_ways
from tests.marks import slow_but

LATENT, CONTEXT = 3, 4
FREE = {
    "inverse autoregressive": flows.InverseAutoregressive,
    "coupling": flows.AffineCoupling,
    "reversal": flows.Reversal,
    "Pyro's autoregressive": transforms.affine_autoregressive,
    "Pyro's stable autoregressive": functools.partial(
        transforms.affine_autoregressive, stable=True
    ),
    "Pyro's coupling": transforms.affine_coupling,
    "spline": transforms.spline,
    "spline coupling": transforms.spline_coupling,
    "planar": transforms.planar,
    "radial": transforms.radial,
    "sylvester": transforms.sylvester,
    "householder": transforms.householder,
    "permute": transforms.permute,
    "of single numbers": lambda latent: AffineTransform(torch.ones(latent), torch.tensor(2.0)),
    "composed": lambda latent: ComposeTransform(
        [transforms.planar(latent), transforms.permute(latent), AffineTransform(0.0, 3.0)]
    ),
}
CONDITIONAL = {
    "inverse autoregressive": flows.InverseAutoregressive,
    "coupling": flows.AffineCoupling,
    "Pyro's autoregressive": transforms.conditional_affine_autoregressive,
    "Pyro's coupling": transforms.conditional_affine_coupling,
    "spline": transforms.conditional_spline,
    "planar": transforms.conditional_planar,
    "radial": transforms.conditional_radial,
    "composed": lambda *sizes: conditional.ConditionalComposeTransformModule(
        [transforms.conditional_planar(*sizes), transforms.affine_coupling(LATENT)]
    ),
}
WITHOUT_INVERSE = {"planar", "radial", "sylvester", "composed"}
CASES = [(name, 0) for name in FREE] + [(name, CONTEXT) for name in CONDITIONAL]


def posterior_of(name, context, features=5):
    torch.manual_seed(0)
    constructor = (CONDITIONAL if context else FREE)[name]
    network = nn.Linear(features, 2 * LATENT + context)
    return posteriors.FlowPosterior(network, LATENT, [constructor, flows.Reversal], context)


def pair_of(posterior, prior=None):
    return ppvae.VAE(
        prior or priors.StandardNormal(LATENT), likelihoods.Bernoulli(nn.Linear(3, 5)), posterior
    )


SHAPES = [(leading, draws) for leading in ((), (5,), (2, 1, 5)) for draws in ((), (6,), (2, 3))]


@pytest.mark.parametrize(
    ("leading", "draws"),
    [
        pytest.param(*shapes, marks=[] if shapes == SHAPES[7] else [pytest.mark.slow])
        for shapes in SHAPES
    ],
)
@pytest.mark.parametrize(("name", "context"), CASES)
def test_log_prob_is_that_of_the_jacobian(name, context, leading, draws):
    posterior = posterior_of(name, context).double()
    x = torch.randn(*leading, 5).double()
    # As plates do it: draws stand left of the distribution's own batch.
    distribution = posterior(x).expand((*draws, *leading))
    torch.manual_seed(1)
    z = distribution.rsample()
    torch.manual_seed(1)
    e = distribution.base_dist.rsample()
    c = posterior.network(x)[..., 2 * LATENT :].expand(*e.shape[:-1], context)

    def bend(e, c):
        for part in posterior.chain.parts:
            e = part.condition(c)(e)
        return e

    jacobian = torch.stack(
        [
            torch.autograd.functional.jacobian(functools.partial(bend, c=c[index]), e[index])
            for index in itertools.product(*map(range, e.shape[:-1]))
        ]
    )
    expected = distribution.base_dist.log_prob(e) - torch.linalg.slogdet(
        jacobian
    ).logabsdet.reshape(e.shape[:-1])
    scored = distribution.log_prob(z)
    assert scored.shape == (*draws, *leading)
    # Sylvester's determinant has 1e-8 added to it by Pyro.
    torch.testing.assert_close(scored, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(("name", "context"), CASES)
def test_other_values_are_scored_by_inverses_or_refused(name, context):
    # The inverse that Pyro's autoregressive transforms have knows no float64.
    single = name in ("Pyro's autoregressive", "Pyro's stable autoregressive")
    dtype, tolerance = (torch.float32, 1e-4) if single else (torch.float64, 1e-9)
    posterior = posterior_of(name, context).to(dtype)
    distribution = posterior(torch.randn(4, 5, dtype=dtype))
    z = distribution.rsample((2,))
    scored = distribution.log_prob(z)
    if name in WITHOUT_INVERSE:
        with pytest.raises(NotImplementedError, match="has no inverse.*own last draw"):
            distribution.log_prob(z.clone())
    else:
        inverted = distribution.log_prob(z.clone())
        torch.testing.assert_close(inverted, scored, rtol=0, atol=tolerance)
        assert distribution.log_prob(torch.zeros(LATENT, dtype=dtype)).shape == (4,)


@pytest.mark.parametrize(("name", "context"), CASES)
def test_gradient_of_own_draws_is_that_of_the_path(name, context):
    """d log q(z(w); w) / dw, by finite differences at fixed noise."""
    posterior = posterior_of(name, context).double()
    x = torch.randn(2, 5).double()

    def score(weights):
        torch.manual_seed(2)
        with torch.no_grad():
            posterior.network.bias.copy_(weights)
        distribution = posterior(x)
        return distribution.log_prob(distribution.rsample()).sum()

    weights = posterior.network.bias.detach().clone()
    gradient = torch.autograd.grad(score(weights), posterior.network.bias)[0]
    for index in range(len(weights)):
        step = torch.zeros_like(weights)
        step[index] = 1e-6
        slope = (score(weights + step) - score(weights - step)).item() / 2e-6
        assert gradient[index].item() == pytest.approx(slope, abs=1e-6, rel=1e-5)


def test_no_density_of_other_parameters_is_remembered():
    for constructor in (flows.AffineCoupling, transforms.spline, transforms.affine_coupling):
        prior = priors.FlowPrior(2, [constructor, transforms.permute])
        z = torch.randn(5, 2)
        before = prior().log_prob(z)
        with torch.no_grad():
            for parameter in prior.parameters():
                parameter.add_(torch.randn_like(parameter))
        after = prior().log_prob(z)
        assert not torch.allclose(before, after)
        torch.testing.assert_close(after, prior().log_prob(z.clone()))


@pytest.mark.slow
def test_nothing_is_kept_once_the_distribution_is_gone():
    for name in FREE:
        posterior = posterior_of(name, 0)
        z = posterior(torch.randn(4, 5)).rsample()
        kept = weakref.ref(z)
        del z
        gc.collect()
        assert kept() is None, name
        copy.deepcopy(posterior)  # which would refuse tensors that others were computed into


def test_draws_without_gradients_have_the_gradient_of_their_value():
    posterior = posterior_of("inverse autoregressive", 0)
    parameters = list(posterior.parameters())
    distribution = posterior(torch.randn(4, 5))
    z = distribution.sample()
    at_draw = torch.autograd.grad(distribution.log_prob(z).sum(), parameters, retain_graph=True)
    expected = torch.autograd.grad(distribution.log_prob(z.clone()).sum(), parameters)
    for gradient, other in zip(at_draw, expected, strict=True):
        assert torch.equal(gradient, other)
    with torch.no_grad():
        z = distribution.sample()
        assert torch.equal(distribution.log_prob(z), distribution.log_prob(z))
    planar = posterior_of("planar", 0)(torch.randn(4, 5))
    with pytest.raises(NotImplementedError, match="no inverse"):
        planar.log_prob(planar.sample())


def test_no_transforms_leave_the_base():
    z, x = torch.randn(5, LATENT), torch.randn(5, 5)
    prior = priors.FlowPrior(LATENT, ())
    assert torch.equal(prior().log_prob(z), priors.StandardNormal(LATENT)().log_prob(z))
    network = nn.Linear(5, 2 * LATENT)
    plain, flow = posteriors.DiagonalNormal(network), posteriors.FlowPosterior(network, LATENT, ())
    assert torch.equal(plain(x).log_prob(z), flow(x).log_prob(z))
    assert torch.equal(plain(x).mean, flow(x).mean)


@torch.no_grad()
def test_density_is_normalized_in_one_dimension_and_samples_follow_it():
    """A false alarm of the samples comes once in 10,000."""
    torch.manual_seed(0)
    spline = functools.partial(transforms.spline, order="quadratic")
    prior = priors.FlowPrior(1, [spline, spline]).double()
    grid = torch.linspace(-8, 8, 80_001).double()
    cumulative = integrate.cumulative_simpson(
        prior().log_prob(grid[:, None]).exp().numpy(), x=grid, initial=0
    )
    # Within 1e-6 of a knot Pyro takes the neighboring piece.
    assert cumulative[-1] == pytest.approx(1, abs=1e-4)
    drawn = prior().sample((4000,)).squeeze(-1)
    at_draws = torch.from_numpy(cumulative)[
        ((drawn.clamp(-8, 8) + 8) / 16 * 80_000).round().long()
    ]
    assert stats.kstest(at_draws.numpy(), "uniform").pvalue > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    "constructors",
    [
        pytest.param((flows.AffineCoupling, flows.Reversal) * 3, marks=pytest.mark.slow),
        pytest.param(
            (transforms.affine_coupling, transforms.householder) * 2, marks=pytest.mark.slow
        ),
        (flows.InverseAutoregressive, flows.Reversal) * 2,
    ],
    ids=["coupling", "Pyro's coupling", "inverse autoregressive"],
)
@torch.no_grad()
def test_density_is_normalized_in_two_dimensions_and_samples_follow_it(constructors):
    """A false alarm of a quadrant's share comes once in 10,000."""
    torch.manual_seed(0)
    prior = priors.FlowPrior(2, constructors).double()
    axis = torch.linspace(-12, 12, 1201).double()
    density = prior().log_prob(torch.cartesian_prod(axis, axis)).exp().reshape(1201, 1201)
    total = integrate.simpson(integrate.simpson(density.numpy(), x=axis), x=axis)
    assert total == pytest.approx(1, abs=1e-4)
    quadrant = integrate.simpson(
        integrate.simpson(density[600:, 600:].numpy(), x=axis[600:]), x=axis[600:]
    )
    inside = int((prior().sample((20_000,)) > 0).all(-1).sum())
    assert stats.binomtest(inside, 20_000, quadrant).pvalue > 1e-4


@pytest.mark.parametrize("name", sorted(WITHOUT_INVERSE - {"composed"}))
def test_prior_of_transforms_without_inverse_is_refused(name):
    with pytest.raises(ValueError, match="FlowPrior scores draws.*has no inverse"):
        priors.FlowPrior(2, [FREE[name]])


def test_what_is_no_transform_is_refused():
    for constructor in (
        lambda features: nn.Linear(features, features),
        lambda features: transforms.affine_coupling(features).inv,
    ):
        with pytest.raises(TypeError, match="constructors that return a Transform"):
            priors.FlowPrior(2, [constructor])
    for build in (flows.AffineCoupling, flows.InverseAutoregressive, priors.FlowPrior):
        with pytest.raises(ValueError, match="needs features >= 2.*spline"):
            build(1)
    with pytest.raises(ValueError, match="hidden sizes"):
        flows.InverseAutoregressive(4, hidden=[3])
    with pytest.raises(ValueError, match=r"latent >= 1 and context >= 0, got 2 and -1"):
        posteriors.FlowPosterior(nn.Identity(), 2, (), -1)
    with pytest.raises(ValueError, match=r"made for latent=3, but is asked for 2"):
        posteriors.FlowPosterior(nn.Identity(), 3).outputs_for(2)


def test_tensors_of_a_transform_are_saved_with_the_pair(tmp_path):
    build = lambda: pair_of(  # noqa: E731
        posterior_of("permute", 0), priors.FlowPrior(3, [transforms.spline, transforms.permute])
    )
    torch.manual_seed(3)
    pair = build()
    z = torch.randn(5, 3)
    expected = pair.prior().log_prob(z)
    ppvae.save(pair, tmp_path)
    with pytest.raises(ValueError, match=r"type function.*load\(folder, pair=mine\)"):
        ppvae.load(tmp_path)
    for seed in range(5):
        torch.manual_seed(seed)
        assert torch.equal(ppvae.load(tmp_path, pair=build()).prior().log_prob(z), expected)


@pytest.mark.parametrize(
    ("name", "context"),
    slow_but(
        set(),
        [(name, CONTEXT) for name in ("planar", "radial", "Pyro's autoregressive")]
        + [("planar", 0)],
    ),
)
def test_graph_of_a_training_of_pyros_transforms_is_the_training(name, context, monkeypatch):
    x = (torch.rand(40, 5) < 0.5).float()
    trained_both_ways(lambda: pair_of(posterior_of(name, context)), x, monkeypatch)


@pytest.mark.parametrize("name", ["spline", "spline coupling"])
def test_what_no_graph_can_do_trains_uncompiled(name):
    prior = priors.FlowPrior(3, [FREE[name]])
    pair = pair_of(posteriors.DiagonalNormal(nn.Linear(5, 6)), prior)
    before = [parameter.clone() for parameter in prior.parameters()]
    x = (torch.rand(40, 5) < 0.5).float()
    fit = ppvae.fit(pair, x, steps=6, batch_size=20, compile_from=1, seed=0)
    assert fit.compiled_from is None
    assert "spline" in fit.compilation
    assert all(map(torch.any, (p != b for p, b in zip(prior.parameters(), before, strict=True))))


@pytest.mark.parametrize(
    ("name", "context"),
    [
        pytest.param(*case, marks=[] if case in CASES[::8] else [pytest.mark.slow])
        for case in CASES
    ],
)
def test_diagnostics_of_a_flow(name, context):
    """Draws at once or one by one, all know the sum of formula (2)."""
    x = (torch.rand(6, 5) < 0.5).float()
    pair = pair_of(posterior_of(name, context))
    evidence = diagnostics.evidence(pair, x, draws=30)
    terms = evidence.reconstruction - evidence.kl - evidence.elbo
    assert abs(terms).max() < 1e-5
    assert diagnostics.weights(pair, x, draws=30).shape == (30, 6)
    assert diagnostics.pareto_k(pair, x, draws=30).sizes == {"data": 6}
    assert diagnostics.active_units(pair, x).variance.z.shape == (3,)
    assert diagnostics.to_arviz(pair, x, draws=5)["posterior"]["z"].shape == (1, 5, 6, 3)
    assert pair.reconstruct(x).shape == x.shape
    with pytest.raises(ValueError, match="does not split into dimensions"):
        diagnostics.kl_per_dimension(pair, x)


def frozen_pair():
    torch.manual_seed(0)
    posterior = posteriors.FlowPosterior(nn.Linear(5, 4), 2, transforms=[transforms.planar])
    posterior.requires_grad_(False)
    return ppvae.VAE(priors.StandardNormal(2), likelihoods.Normal(nn.Linear(2, 10)), posterior)


def test_encoder_that_is_kept_as_it_is_scores_its_draws_without_an_inverse():
    pair, x = frozen_pair(), torch.randn(20, 5)
    before = pair.likelihood.network.weight.detach().clone()
    ppvae.fit(pair, x, steps=2, compile=False)
    assert not torch.equal(pair.likelihood.network.weight, before)


def test_prior_is_refitted_to_draws_of_a_flow_without_inverse():
    prior = priors.NormalMixture(2, components=2)
    refitted = ppvae.refit_prior(
        frozen_pair().requires_grad_(True), torch.randn(20, 5), prior, steps=2, compile=False
    )
    after = dict(refitted.prior.named_parameters())
    assert any(not torch.equal(value, after[name]) for name, value in prior.named_parameters())
    assert all(parameter.requires_grad for parameter in refitted.parameters())
