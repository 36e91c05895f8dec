"""Gradients of the bounds: the same expectation, by closed forms, enumeration or each other."""

import dataclasses
import itertools
import math
import warnings
from typing import ClassVar

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions import TorchDistribution
from pyro.distributions.transforms import Planar, conditional_planar
from pyro.infer import Trace_ELBO
from pyro.poutine.messenger import Messenger
from torch import nn

import ppvae
from ppvae import diagnostics, likelihoods, posteriors, priors
from ppvae.inference import (
    CombinedImportanceWeighted_ELBO,
    ImportanceWeighted_ELBO,
    LinearWarmup,
    PartiallyImportanceWeighted_ELBO,
    StickingTheLanding_ELBO,
    VariationalRenyi_ELBO,
)
from ppvae.inference.steps.kl_weight import KLWeight
from tests.linear_gaussian import LinearGaussian
from tests.marks import slow_but

# Of up to 60 coordinates, |t| above 5.2 in one: once in 10,000 runs.
_FALSE_ALARM = 5.2


def members(path):
    """Every bound, with plain gradients or with those through the draws alone."""
    return {
        "importance weighted": ImportanceWeighted_ELBO(5, doubly_reparameterized=path),
        "multiply weighted": ImportanceWeighted_ELBO(3, repeats=2, doubly_reparameterized=path),
        "combined": CombinedImportanceWeighted_ELBO(
            5, elbo_weight=0.4, doubly_reparameterized=path
        ),
        "partially": PartiallyImportanceWeighted_ELBO(3, repeats=2, doubly_reparameterized=path),
        "Renyi 0.5": VariationalRenyi_ELBO(0.5, 5, doubly_reparameterized=path),
        "Renyi 2": VariationalRenyi_ELBO(2, 5, doubly_reparameterized=path),
    }


NAMES = list(members(False))


def flat(pair):
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in pair.parameters()]
    return torch.cat([gradient.flatten().clone() for gradient in gradients])


def sample(objective, pair, x, seed=0, *, repeats=100, copies=40):
    """Gradients of all parameters, `(repeat, coordinate)`, each the mean of some independent."""
    torch.manual_seed(seed)
    together, found = x.repeat(copies, 1), []
    for _ in range(repeats):
        pair.zero_grad()
        objective.loss_and_grads(pair.model, pair.guide, together)
        found.append(flat(pair) / copies)
    return torch.stack(found)


def assert_same_expectation(first, second):
    """Of two samples; where neither varies, to rounding."""
    difference = first.mean(0) - second.mean(0)
    error = (first.var(0) / len(first) + second.var(0) / len(second)).sqrt()
    assert bool((difference.abs() < _FALSE_ALARM * error + 1e-9).all()), difference / error


@pytest.mark.parametrize("name", [*NAMES, "sticking the landing"])
def test_coefficients_are_the_derivatives_of_the_bound(name):
    objective = {**members(True), "sticking the landing": StickingTheLanding_ELBO(6)}[name]
    torch.manual_seed(0)
    log_weights = torch.randn(objective.num_particles, dtype=torch.float64)

    def derivatives(function):
        automatic = torch.autograd.functional
        jacobian = automatic.jacobian(function, log_weights)
        return jacobian, automatic.hessian(function, log_weights)

    first, _ = derivatives(objective.bound)
    torch.testing.assert_close(objective.coefficients(log_weights), first)
    first, second = derivatives(objective.guide_bound)
    if objective.guide_coefficients(log_weights) is not None:
        torch.testing.assert_close(objective.guide_coefficients(log_weights), first)
    path = objective.path_coefficients(log_weights)
    remaining = first - second.diagonal()
    torch.testing.assert_close(first if path is None else path, remaining)


def linear(perturbation=0.2, rows=3):
    case = LinearGaussian.random(0, orthogonal=True, perturbation=perturbation)
    return case, case.pair(), case.draw(rows, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_through_the_draws_alone_the_expectation_is_the_same(name):
    _, pair, x = linear()
    plain = sample(members(False)[name], pair, x)
    path = sample(members(True)[name], pair, x, seed=1)
    assert_same_expectation(plain, path)


def test_sticking_the_landing_climbs_the_elbo_in_closed_form():
    case, pair, x = linear()
    found = sample(StickingTheLanding_ELBO(), pair, x)
    # Guide and posterior have the same widths, so that the slope's gradient has no noise at all.
    slope = case.slope.clone().requires_grad_()
    raw = case.scale.expm1().log().requires_grad_()
    learned = LinearGaussian(
        case.loadings, case.offset, case.noise, slope, case.intercept, nn.functional.softplus(raw)
    )
    (-learned.terms(x)["elbo"].sum()).backward()
    names = [name for name, _ in pair.named_parameters()]
    sizes = [p.numel() for p in pair.parameters()]
    by_name = dict(zip(names, found.split(sizes, 1), strict=True))
    weight = by_name["posterior.network.weight"].unflatten(1, (4, 5))[:, :2].flatten(1)
    bias = by_name["posterior.network.bias"][:, 2:]
    for estimates, exact in ((weight, slope.grad.flatten()), (bias, raw.grad)):
        error = estimates.std(0) / math.sqrt(len(estimates))
        assert bool(((estimates.mean(0) - exact).abs() < _FALSE_ALARM * error + 1e-9).all())


@pytest.mark.parametrize(
    "objective",
    slow_but(
        {"partially", "sticking the landing"},
        members(True) | {"sticking the landing": StickingTheLanding_ELBO()},
    ),
)
def test_at_the_posterior_the_guides_gradient_has_no_noise(objective):
    _, pair, x = linear(perturbation=0.0)
    guides = torch.cat(
        [
            torch.full((p.numel(),), name.startswith("posterior"))
            for name, p in pair.named_parameters()
        ]
    )
    assert sample(objective, pair, x, repeats=20, copies=1)[:, guides].abs().max() < 1e-9
    plain = sample(Trace_ELBO(), pair, x, repeats=20, copies=1)[:, guides]
    assert plain.std(0).max() > 1
    plain = sample(ImportanceWeighted_ELBO(5), pair, x, repeats=20, copies=1)[:, guides]
    assert plain.std(0).max() > 0.1


@pytest.mark.slow
def test_signal_to_noise_rises_with_draws_only_through_the_draws_alone():
    """As sqrt(K) against 1 / sqrt(K), of a guide that covers the posterior."""
    exact, _, x = linear(perturbation=0.0, rows=20)
    wide = dataclasses.replace(exact, scale=1.3 * exact.scale, intercept=exact.intercept + 0.1)
    pair = wide.pair()

    def signal_to_noise(draws, path):
        objective = ImportanceWeighted_ELBO(draws, doubly_reparameterized=path)
        measured = diagnostics.gradient_signal(pair, x, draws=100, objective=objective)
        return float(measured.signal_to_noise.sel(parameter="posterior.network.bias"))

    plain = [signal_to_noise(count, False) for count in (1, 10)]
    path = [signal_to_noise(count, True) for count in (1, 10, 100)]
    assert plain[0] > 2 * plain[1], plain
    assert path[2] > 2 * path[1] > 3 * path[0], path


class Chain(nn.Module):
    """Two latents: the guide's second depends on the first, the model's on both."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first = nn.Linear(2, 2)
        self.second = nn.Linear(3, 2)
        self.decoder = nn.Linear(2, 2)
        self.double()

    def model(self, x):
        pyro.module("pair", self)
        with pyro.plate("data", len(x)):
            a = pyro.sample("a", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            b = pyro.sample("b", dist.Normal(torch.tanh(a), 0.5).to_event(1))
            loc = self.decoder(torch.cat([a, b], -1))
            pyro.sample("x", dist.Normal(loc, 0.5).to_event(1), obs=x)

    def guide(self, x):
        pyro.module("pair", self)
        with pyro.plate("data", len(x)):
            loc, raw = self.first(x).chunk(2, -1)
            a = pyro.sample("a", dist.Normal(loc, raw.exp()).to_event(1))
            seen = torch.cat([x.expand(*a.shape[:-1], 2), a], -1)
            loc, raw = self.second(seen).chunk(2, -1)
            pyro.sample("b", dist.Normal(loc, raw.exp()).to_event(1))


def vamp():
    """The prior shares the guide's parameters, and has some of its own."""
    torch.manual_seed(0)
    encoder = posteriors.DiagonalNormal(nn.Linear(2, 2))
    pseudo = priors.PseudoInputs.from_data(torch.randn(3, 2))
    pair = ppvae.VAE(
        priors.VampPrior(encoder, pseudo), likelihoods.Normal(nn.Linear(1, 2), scale=0.5), encoder
    )
    return pair.double()


@pytest.mark.slow
@pytest.mark.parametrize("build", [Chain, vamp])
@pytest.mark.parametrize("path", ["sticking the landing", "importance weighted", "partially"])
def test_what_stops_is_the_use_of_parameters_not_they(build, path):
    pair, x = build(), torch.randn(3, 2, dtype=torch.float64)
    if path == "sticking the landing":
        plain, through = Trace_ELBO(), StickingTheLanding_ELBO()
    else:
        plain, through = members(False)[path], members(True)[path]
    first, second = sample(plain, pair, x), sample(through, pair, x, seed=1)
    assert_same_expectation(first, second)
    assert bool((second.abs().sum(0) > 0).any())


class Choice(nn.Module):
    """A discrete latent, which is not reparameterized, and a continuous one given it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.logits = nn.Linear(2, 3)
        self.decoder = nn.Linear(3, 2)
        self.double()

    def density(self, one, x):
        return dist.Normal(self.decoder(one), 1.0).log_prob(x).sum(-1)

    def model(self, x):
        pyro.module("pair", self)
        with pyro.plate("data", len(x)):
            one = pyro.sample("k", dist.OneHotCategorical(logits=x.new_zeros(3)))
            pyro.sample("x", dist.Normal(self.decoder(one), 1.0).to_event(1), obs=x)

    def guide(self, x):
        pyro.module("pair", self)
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.OneHotCategorical(logits=self.logits(x)))


@pytest.mark.parametrize("draws", slow_but({2}, [1, 2, 3]))
def test_scores_of_discrete_latents_are_right_by_enumeration(draws):
    """All 3^K outcomes of K draws, each with its probability."""
    pair, x = Choice(), torch.randn(2, 2, dtype=torch.float64)
    ones = torch.eye(3, dtype=torch.float64)
    log_q = pair.logits(x).log_softmax(-1)
    log_w = torch.stack([pair.density(one, x) for one in ones], -1) - math.log(3) - log_q
    bound = 0.0
    for outcome in itertools.product(range(3), repeat=draws):
        index = list(outcome)
        probability = log_q[:, index].sum(-1).exp()
        bound = bound + probability * (log_w[:, index].logsumexp(-1) - math.log(draws))
    (-bound.sum()).backward()
    exact = flat(pair)
    found = sample(ImportanceWeighted_ELBO(draws), pair, x, seed=1)
    error = found.std(0) / math.sqrt(len(found))
    assert bool(((found.mean(0) - exact).abs() < _FALSE_ALARM * error + 1e-9).all())


def planar():
    flow = posteriors.FlowPosterior(
        nn.Linear(2, 2 * 2 + 4), latent=2, transforms=[conditional_planar], context=4
    )
    decoder = likelihoods.Normal(nn.Linear(2, 2), scale=0.5)
    return ppvae.VAE(priors.StandardNormal(2), decoder, flow).double()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (Choice, "latent site 'k' have none: OneHotCategorical is not reparameterized"),
        (planar, "needs log q.z.x. of given draws: at site 'z': ConditionedPlanar has no inverse"),
    ],
)
@pytest.mark.parametrize(
    "objective",
    [
        ImportanceWeighted_ELBO(3, doubly_reparameterized=True),
        PartiallyImportanceWeighted_ELBO(3, repeats=2),
        StickingTheLanding_ELBO(),
    ],
)
def test_what_has_no_gradient_through_its_draws_is_refused(build, message, objective):
    x = torch.randn(10, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match=f"{type(objective).__name__} takes .* {message}"):
        ppvae.fit(build(), x, epochs=1, objective=objective)
    fit = ppvae.fit(build(), x, epochs=1, objective=ImportanceWeighted_ELBO(3))
    assert fit.steps == 1


class SingleBatch(nn.Module):
    """A decoder for one batch dimension: it flattens all others."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, z):
        return self.layer(z.reshape(-1, 2)[: len(z) if z.dim() == 2 else z.shape[-2]])


def test_networks_for_one_batch_dimension_are_found_out():
    decoder = likelihoods.Normal(SingleBatch(), scale=0.5)
    pair = ppvae.VAE(
        priors.StandardNormal(2), decoder, posteriors.DiagonalNormal(nn.Linear(2, 4))
    ).double()
    x = torch.randn(10, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match="otherwise than one after the other.*=False"):
        ppvae.fit(pair, x, epochs=1, objective=ImportanceWeighted_ELBO(3))
    one_by_one = ImportanceWeighted_ELBO(3, vectorize_particles=False)
    assert ppvae.fit(pair, x, epochs=1, objective=one_by_one).steps == 1


def test_the_other_draws_take_noise_from_the_score():
    """Against as many draws whose score is held against nothing."""
    pair, x = Choice(), torch.randn(2, 2, dtype=torch.float64)
    held = sample(StickingFree(8), pair, x).var(0).sum()
    alone = sample(Trace_ELBO(8, vectorize_particles=True), pair, x).var(0).sum()
    assert held < 0.7 * alone


class StickingFree(StickingTheLanding_ELBO):
    """The ELBO of several draws with plain gradients."""

    def __init__(self, num_particles):
        super().__init__(num_particles)
        self.path_gradient = False


class Weighted(nn.Module):
    """A pair whose latents weigh beta, as under the `kl_weight` of `fit`."""

    def __init__(self, pair, beta):
        super().__init__()
        self.pair = pair
        weight = KLWeight()
        weight.value.fill_(beta)
        self.model, self.guide = weight.weighted(pair.model), weight.weighted(pair.guide)


@pytest.mark.parametrize(
    ("name", "beta"),
    [
        pytest.param(
            name,
            beta,
            marks=[pytest.mark.slow] * ((name, beta) != (NAMES[0], 0.4))
            + [pytest.mark.verify] * (beta != 0.4),
        )
        for name in NAMES
        for beta in (0.4, 0.0, 2.5)
    ],
)
def test_a_weight_of_the_kl_term_goes_with_every_gradient(name, beta):
    pair, x = Weighted(Chain(), beta), torch.randn(3, 2, dtype=torch.float64)
    plain, path = sample(members(False)[name], pair, x), sample(members(True)[name], pair, x, 1)
    assert_same_expectation(plain, path)
    assert bool((path.abs().sum(0) > 0).any())


def test_a_schedule_of_the_weight_goes_with_every_gradient():
    x = torch.randn(10, 2, dtype=torch.float64)
    for objective in [*members(True).values(), StickingTheLanding_ELBO()]:
        fit = ppvae.fit(Chain(), x, epochs=3, kl_weight=LinearWarmup(3), objective=objective)
        assert fit.steps == 3


class RowsWeighed(nn.Module):
    """Every row has a scale of its own, and its latents another."""

    def __init__(self, pair, scale, weight):
        super().__init__()
        self.pair, self.scale, self.weight = pair, scale, weight

    def model(self, x):
        with pyro.poutine.scale(scale=self.scale), _Lighter("ab", self.weight):
            self.pair.model(x)

    def guide(self, x):
        with pyro.poutine.scale(scale=self.scale), _Lighter("ab", self.weight):
            self.pair.guide(x)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [NAMES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[1:])]
)
def test_weights_of_each_row_go_with_every_gradient(name):
    x = torch.randn(3, 2, dtype=torch.float64)
    scale, weight = (torch.rand(120, dtype=torch.float64) * 2 for _ in range(2))
    pair = RowsWeighed(Chain(), scale, weight)
    plain, path = sample(members(False)[name], pair, x), sample(members(True)[name], pair, x, 1)
    assert_same_expectation(plain, path)


class OneWeighed(Chain):
    """Its first latent weighs less than the second, in model and guide."""

    def model(self, x):
        with _Lighter("a", 0.5):
            super().model(x)

    def guide(self, x):
        with _Lighter("a", 0.5):
            super().guide(x)


class _Lighter(Messenger):
    def __init__(self, names, weight):
        super().__init__()
        self.names, self.weight = names, weight

    def _pyro_sample(self, message):
        if message["name"] in self.names:
            message["scale"] = message["scale"] * self.weight


def test_latents_of_different_weights_are_refused_where_gradients_need_one():
    pair, x = OneWeighed(), torch.randn(10, 2, dtype=torch.float64)
    curved = ImportanceWeighted_ELBO(3, doubly_reparameterized=True)
    with pytest.raises(ValueError, match="site 'b' .* than its other sites.*take plain gradients"):
        ppvae.fit(pair, x, epochs=1, objective=curved)
    for objective in (StickingTheLanding_ELBO(), ImportanceWeighted_ELBO(3)):
        assert ppvae.fit(pair, x, epochs=1, objective=objective).steps == 1


class OffThePath(nn.Module):
    """A guide of some family."""

    def __init__(self, family):
        super().__init__()
        self.family = family
        self.weight = nn.Parameter(torch.zeros(3, dtype=torch.float64))

    def prior(self, x):
        if self.family in (rounded, rounded_bits):
            return self.family(x.new_zeros(3))
        return dist.Normal(x.new_zeros(3), 1.0).to_event(1)

    def model(self, x):
        pyro.module("pair", self)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior(x))
            pyro.sample("x", dist.Normal(z[..., :2], 1.0).to_event(1), obs=x)

    def guide(self, x):
        pyro.module("pair", self)
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.family(self.weight.expand(len(x), 3)))


def rounded(weight):
    return dist.RelaxedOneHotCategoricalStraightThrough(weight.new_tensor(0.5), logits=weight)


def rounded_bits(weight):
    family = dist.RelaxedBernoulliStraightThrough(weight.new_tensor(0.5), logits=weight)
    return family.to_event(1)


def bounded(weight):
    return dist.Uniform(weight - 1, weight + 1).to_event(1)


def carried(weight):
    value = weight + torch.randn_like(weight)
    return dist.Delta(value, log_density=weight.sum(-1), event_dim=1)


THROUGH_DRAWS = [
    ImportanceWeighted_ELBO(3, doubly_reparameterized=True),
    StickingTheLanding_ELBO(),
]


@pytest.mark.parametrize("family", [rounded, rounded_bits])
@pytest.mark.parametrize(
    "objective", [*THROUGH_DRAWS, PartiallyImportanceWeighted_ELBO(3, repeats=2)]
)
def test_draws_that_are_rounded_are_refused_where_gradients_go_through_them(family, objective):
    pair, x = OffThePath(family), torch.randn(10, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match="latent site 'z' Relaxed.*StraightThrough rounds them"):
        ppvae.fit(pair, x, epochs=1, objective=objective)
    assert ppvae.fit(pair, x, epochs=1, objective=ImportanceWeighted_ELBO(3)).steps == 1


@pytest.mark.parametrize(
    ("family", "message"),
    [
        (bounded, "the support of Uniform depends on parameters"),
        (carried, "Delta has a log density with parameters"),
    ],
)
def test_families_of_which_the_path_misses_a_part_are_refused(family, message):
    pair, x = OffThePath(family), torch.randn(10, 2, dtype=torch.float64)
    for objective in THROUGH_DRAWS:
        with pytest.raises(ValueError, match=f"site 'z': {message}"):
            ppvae.fit(pair, x, epochs=1, objective=objective)
    if family is carried:
        return  # it draws by itself, and so one particle for all
    for objective in (ImportanceWeighted_ELBO(3), PartiallyImportanceWeighted_ELBO(3, repeats=2)):
        assert ppvae.fit(pair, x, epochs=1, objective=objective).steps == 1


class Plainest(TorchDistribution):
    """A family of one's own, which says nothing of its support."""

    arg_constraints: ClassVar[dict] = {}
    has_rsample = True

    def __init__(self, loc):
        self.loc = loc
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    def expand(self, batch_shape):
        return Plainest(self.loc.expand(*batch_shape, *self.event_shape))

    def rsample(self, sample_shape=()):
        return self.loc + torch.randn(*sample_shape, *self.loc.shape, dtype=self.loc.dtype)

    def log_prob(self, value):
        return dist.Normal(self.loc, 1.0).log_prob(value).sum(-1)


def test_a_family_without_support_is_served():
    pair, x = OffThePath(Plainest), torch.randn(10, 2, dtype=torch.float64)
    for objective in [*members(False).values(), *THROUGH_DRAWS]:
        assert ppvae.fit(pair, x, epochs=1, objective=objective).steps == 1


class PyrosPlanar(OffThePath):
    """A flow that knows the draws it made, as the same tensors, and no others."""

    def __init__(self):
        super().__init__(None)
        self.flow = Planar(3).double()

    def guide(self, x):
        pyro.module("pair", self)
        with pyro.plate("data", len(x)):
            base = dist.Normal(self.weight.expand(len(x), 3), 1.0).to_event(1)
            pyro.sample("z", dist.TransformedDistribution(base, [self.flow]))


def test_a_flow_that_scores_its_own_draws_alone_is_served_by_plain_gradients():
    pair, x = PyrosPlanar(), torch.randn(10, 2, dtype=torch.float64)
    assert ppvae.fit(pair, x, epochs=1, objective=ImportanceWeighted_ELBO(3)).steps == 1
    with pytest.raises(ValueError, match="needs log q.z.x. of given draws"):
        ppvae.fit(pair, x, epochs=1, objective=StickingTheLanding_ELBO())


class Impossible(Choice):
    """Of three classes the last cannot have made the data."""

    def density(self, one, x):
        return super().density(one, x).masked_fill(one[..., -1] == 1, -math.inf)

    def model(self, x):
        pyro.module("pair", self)
        with pyro.plate("data", len(x)):
            one = pyro.sample("k", dist.OneHotCategorical(logits=x.new_zeros(3)))
            pyro.factor("x", self.density(one, x), has_rsample=False)


@pytest.mark.parametrize(
    "objective",
    slow_but(
        {"combined"},
        {
            "importance weighted": ImportanceWeighted_ELBO(3),
            "combined": CombinedImportanceWeighted_ELBO(3, elbo_weight=0.0),
            "Renyi": VariationalRenyi_ELBO(0.5, 3),
        },
    ),
)
def test_draws_without_weight_leave_bound_and_gradient_finite(objective):
    """Unless none of them has any."""
    pair, x, seen = Impossible(), torch.randn(1, 2, dtype=torch.float64), set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pyro's, of infinite log densities
        for seed in range(60):
            torch.manual_seed(seed)
            expected = objective.loss(pair.model, pair.guide, x)
            torch.manual_seed(seed)
            pair.zero_grad()
            value = objective.loss_and_grads(pair.model, pair.guide, x)
            if expected == math.inf:
                continue
            assert value == pytest.approx(expected)
            assert bool(flat(pair).isfinite().all())
            seen.add(round(value, 6))
    assert len(seen) > 5  # with none, one or two that are impossible


class RandomData(OffThePath):
    """Binarizes its data anew at every run, and draws a latent that is rounded."""

    def __init__(self):
        super().__init__(rounded)

    def model(self, x):
        pyro.module("pair", self)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior(x))
            bits = torch.bernoulli(x)
            pyro.sample("x", dist.Bernoulli(logits=z[..., :2]).to_event(1), obs=bits)


def test_random_numbers_of_the_model_do_not_look_like_a_wrong_network():
    pair, x = RandomData(), torch.rand(10, 2, dtype=torch.float64)
    assert ppvae.fit(pair, x, epochs=1, objective=ImportanceWeighted_ELBO(3)).steps == 1
