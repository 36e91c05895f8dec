"""The parts of the KL: against mixtures written out, and in the limits where they are known."""

import functools
import itertools
import math

import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch.distributions import Normal

import ppvae
from ppvae.inference import TotalCorrelation_ELBO
from ppvae.inference.objectives.total_correlation import aggregate_log_density
from tests.inference.objectives.cases import (
    LATENT,
    Auxiliary,
    Correlated,
    Discrete,
    GlobalLatent,
    Linear,
    Masked,
    OtherPlate,
    TwoLatents,
    assert_same,
    assert_trains,
    call,
    drawn,
    evaluated,
    replayed_and_eager,
    rows,
)

SCALES = [(None, None, 1.0), (60, None, 5.0), (None, 0.25, 0.25), (60, 0.5, 2.5)]


def brute_force(pair, x, z):
    """The three parts averaged over the draws, by a loop over all components of the mixtures."""
    parts = torch.zeros(3).double()
    scale = pair.log_scale.exp().detach()
    loc = (x @ pair.slope).detach()
    for n in range(len(x)):
        log_q = Normal(loc, scale).log_prob(z[n])  # of each component and dimension
        own = log_q[n].sum()
        joint = log_q.sum(1).exp().mean().log()
        each = log_q.exp().mean(0).log().sum()
        prior = Normal(torch.zeros(LATENT).double(), 1.0).log_prob(z[n]).sum()
        parts += torch.stack([own - joint, joint - each, each - prior]) / len(x)
    return parts


def decomposed(objective, pair, x, seed=0):
    torch.manual_seed(seed)
    parts = objective.decompose(pair.model, pair.guide, x)
    values = [parts.mutual_information, parts.total_correlation, parts.dimension_wise]
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(("size", "scale", "factor"), SCALES)
def test_with_all_the_data_the_parts_are_those_of_the_mixture(size, scale, factor):
    pair, x = Linear(size, scale), rows()
    z, likelihood = drawn(pair, x)
    exact = brute_force(pair, x, z)
    objective = TotalCorrelation_ELBO(len(x), 4.0, mutual_information=0.5, dimension_wise=1.5)
    torch.manual_seed(0)
    parts = objective.decompose(pair.model, pair.guide, x)
    assert parts.mutual_information == pytest.approx(exact[0].item(), rel=1e-12)
    assert parts.total_correlation == pytest.approx(exact[1].item(), rel=1e-12)
    assert parts.dimension_wise == pytest.approx(exact[2].item(), rel=1e-12)
    assert parts.kl == pytest.approx(exact.sum().item(), rel=1e-12)
    loss, _ = call(objective, pair, x)
    cost = 0.5 * exact[0] + 4.0 * exact[1] + 1.5 * exact[2]
    expected = factor * len(x) * (cost - likelihood.mean())
    assert loss == pytest.approx(expected.item(), rel=1e-12)


def test_gradients_are_those_of_the_mixture():
    pair, x = Linear(), rows()
    _, gradients = call(TotalCorrelation_ELBO(len(x), 4.0, mutual_information=0.5), pair, x)
    loc, scale = x @ pair.slope, pair.log_scale.exp()
    z = loc + scale * ((drawn(pair, x)[0] - loc) / scale).detach()
    own = Normal(loc, scale).log_prob(z)
    every = Normal(loc, scale).log_prob(z[:, None])
    joint = every.sum(2).exp().mean(1).log()
    each = every.exp().mean(1).log()
    prior = Normal(0.0, 1.0).log_prob(z)
    cost = 0.5 * (own.sum(1) - joint) + 4.0 * (joint - each.sum(1)) + (each - prior).sum(1)
    loss = cost.sum() - Normal(z @ pair.loadings, 1.0).log_prob(x).sum()
    names = ["loadings", "slope", "log_scale"]
    expected = torch.autograd.grad(loss, [getattr(pair, name) for name in names])
    assert_same([gradients[name] for name in names], list(expected), rtol=1e-10)


@pytest.mark.parametrize(("size", "scale"), [case[:2] for case in SCALES])
@pytest.mark.parametrize("count", [1000, 12])
def test_with_weights_of_one_it_is_the_elbo_draw_by_draw(count, size, scale):
    pair, x = Linear(size, scale), rows()
    ours = call(TotalCorrelation_ELBO(count, 1.0), pair, x)
    assert_same(ours, call(Trace_ELBO(), pair, x))


def test_the_estimated_density_has_no_bias():
    # Averaged over all batches of 3 that hold the draw's own row, it is the mixture itself.
    scores = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)).double()
    for own in range(6):
        densities = []
        for others in itertools.combinations([n for n in range(6) if n != own], 2):
            batch = scores[[own, *others]].expand(3, 3, 2)
            densities.append(aggregate_log_density(batch, 6)[0].exp())
        torch.testing.assert_close(torch.stack(densities).mean(0), scores.exp().mean(0))


def test_a_weight_of_one_part_moves_that_part_only():
    pair, x = Linear(), rows()
    z, _ = drawn(pair, x)
    exact = len(x) * brute_force(pair, x, z)
    plain = TotalCorrelation_ELBO(len(x), 1.0)
    others = [
        TotalCorrelation_ELBO(len(x), 1.0, mutual_information=0.0),
        TotalCorrelation_ELBO(len(x), 0.0),
        TotalCorrelation_ELBO(len(x), 1.0, dimension_wise=0.0),
    ]
    base = call(plain, pair, x)[0]
    dropped = [base - call(other, pair, x)[0] for other in others]
    assert dropped == pytest.approx(exact.tolist(), rel=1e-9)


def test_the_bias_shrinks_with_the_batch():
    # log q(z) at fixed draws of 64 rows, in batches of 4, 16 and 32, less that of all of them.
    # Each gap is some 9 standard errors or more above 0; that it is below 4.5 happens by chance
    # less often than 4e-6.
    pair, x = Linear(scales=(0.5, 0.5, 0.5)), rows(64)
    q = Normal((x @ pair.slope).detach(), pair.log_scale.exp().detach())
    scores = q.log_prob(drawn(pair, x)[0][:, None])
    generator = torch.Generator().manual_seed(0)

    def biases(batch, repetitions=100):
        means = []
        for _ in range(repetitions):
            chunks = torch.randperm(64, generator=generator).reshape(-1, batch)
            part = scores[chunks[:, :, None], chunks[:, None, :]]
            joint = aggregate_log_density(part.sum(-1, keepdim=True), 64).mean()
            means.append(torch.stack([joint, aggregate_log_density(part, 64).sum(-1).mean()]))
        exact = [scores.sum(-1).exp().mean(1).log(), scores.exp().mean(1).log().sum(1)]
        return torch.stack(means) - torch.stack(exact).mean(1)  # (repetition, joint or dimensions)

    few, some, many = biases(4), biases(16), biases(32)
    for gap in (some - few, many - some, -many):  # too low, the less so the more rows
        assert (gap.mean(0) / (gap.std(0) / math.sqrt(len(gap)))).min() > 4.5


def test_a_batch_that_is_part_of_the_data_is_weighted_by_strata():
    pair, x = Linear(), rows()
    z, _ = drawn(pair, x)
    q = Normal((x @ pair.slope).detach(), pair.log_scale.exp().detach())
    log_q = q.log_prob(z[:, None])
    weights = torch.full((12, 12), 999 / (1000 * 11)).double().fill_diagonal_(1 / 1000)
    joint = (weights * log_q.sum(-1).exp()).sum(1).log()
    each = (weights[:, :, None] * log_q.exp()).sum(1).log().sum(1)
    parts = decomposed(TotalCorrelation_ELBO(1000, 1.0), pair, x)
    expected = [q.log_prob(z).sum(1) - joint, joint - each, each - pair.prior(x).log_prob(z)]
    torch.testing.assert_close(parts, torch.stack(expected).mean(1))


def test_information_is_never_above_log_size():
    pair, x = Linear(scales=(1e-4, 1e-4, 1e-4)), rows()
    for size in (12, 1000):
        information = decomposed(TotalCorrelation_ELBO(size, 1.0), pair, x)[0]
        assert information == pytest.approx(math.log(size), abs=1e-9)


def test_one_dimension_has_no_total_correlation():
    class Single(Linear):
        def posterior(self, x):
            return dist.Normal(x[:, :1] @ self.slope[:1, :1], 0.5).to_event(1)

        def prior(self, x):
            return dist.Normal(x.new_zeros(1), 1.0).to_event(1)

    parts = decomposed(TotalCorrelation_ELBO(50, 1.0), Single(), rows())
    assert abs(float(parts[1])) < 1e-12 < float(parts[0])


def test_a_guide_of_the_prior_has_no_part():
    class Idle(Linear):
        def posterior(self, x):
            return dist.Normal(0 * x @ self.slope, 1.0).to_event(1)

    parts = decomposed(TotalCorrelation_ELBO(50, 1.0), Idle(), rows())
    assert parts.abs().max() < 1e-12


def test_evaluation_is_the_plain_elbo():
    pair, x = Linear(60, 0.5), rows()
    objective = TotalCorrelation_ELBO(60, 6.0)
    assert evaluated(objective, pair, x) == evaluated(Trace_ELBO(), pair, x)
    assert evaluated(objective, pair, x[:1]) == evaluated(Trace_ELBO(), pair, x[:1])


@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0])
def test_the_weight_of_the_kl_multiplies_all_parts(weight):
    pair, x = Linear(), rows()
    fit = ppvae.fit(
        pair,
        x,
        steps=1,
        batch_size=len(x),
        optimizer=functools.partial(torch.optim.SGD, lr=0.0),
        objective=TotalCorrelation_ELBO(len(x), 4.0),
        kl_weight=weight,
        seed=4,
    )
    z, likelihood = drawn(pair, x, 4)
    exact = brute_force(pair, x, z)
    expected = weight * (exact[0] + 4.0 * exact[1] + exact[2]) - likelihood.mean()
    assert float(fit.history.train_loss[-1]) == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("vectorize", [False, True])
def test_particles_are_averaged(vectorize):
    pair, x = Linear(scale=5.0), rows()
    objective = TotalCorrelation_ELBO(
        12, 4.0, num_particles=3, vectorize_particles=vectorize, max_plate_nesting=1
    )
    torch.manual_seed(0)
    shapes = [[3]] if vectorize else [[], [], []]
    z = torch.cat([pair.posterior(x).rsample(shape).reshape(-1, 12, 3) for shape in shapes])
    exact = torch.stack([brute_force(pair, x, particle.detach()) for particle in z]).mean(0)
    torch.testing.assert_close(decomposed(objective, pair, x), exact)
    likelihood = Normal(z @ pair.loadings, 1.0).log_prob(x).sum((1, 2)).mean()
    expected = 60 * (exact[0] + 4.0 * exact[1] + exact[2]) - 5 * likelihood
    assert call(objective, pair, x)[0] == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize(
    "build", [Linear, functools.partial(Linear, 60, torch.tensor(0.5).double())]
)
def test_the_graph_is_the_objective_exactly(build):
    first, second = replayed_and_eager(TotalCorrelation_ELBO(60, 6.0), build())
    assert_same(first, second, rtol=0)


def test_training_by_fit(monkeypatch):
    assert_trains(monkeypatch, TotalCorrelation_ELBO(64, 3.0))


def test_beta_lowers_the_total_correlation():
    mixing = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)).double()
    x, reached = rows(64) @ mixing, []
    for beta in (1.0, 30.0):
        pair = Linear()
        objective = TotalCorrelation_ELBO(64, beta)
        optimizer = functools.partial(torch.optim.Adam, lr=0.02)
        ppvae.fit(pair, x, steps=50, batch_size=64, objective=objective, optimizer=optimizer)
        reached.append(float(decomposed(objective, pair, x)[1]))
    assert reached[1] < reached[0] / 4


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (Discrete, "'z' has OneHotCategorical in the guide, which cannot be reparameterized"),
        (Correlated, "'z' has MultivariateNormal in the guide; take one there such as Normal"),
        (Auxiliary, "the site 'beside'"),
        (OtherPlate, "the plates of latent site 'z' are 'batch'"),
        (TwoLatents, "one latent site, got 'z', 'other'"),
        (GlobalLatent, "'z' stands outside the plate 'data'"),
        (Masked, "latent site 'z' is masked"),
    ],
)
def test_refusals_name_the_site(build, message):
    with pytest.raises(ValueError, match=message):
        call(TotalCorrelation_ELBO(60, 6.0), build(), rows())


def test_a_prior_must_be_independent_over_dimensions():
    class Dependent(Linear):
        def prior(self, x):
            return dist.MultivariateNormal(x.new_zeros(LATENT), torch.eye(LATENT).double())

    with pytest.raises(ValueError, match="'z' has MultivariateNormal in the model"):
        call(TotalCorrelation_ELBO(60, 6.0), Dependent(), rows())


def test_batches_of_a_wrong_size_are_refused():
    with pytest.raises(ValueError, match="size=10.*batch of 12 rows; pass the number of training"):
        call(TotalCorrelation_ELBO(10, 6.0), Linear(), rows())
    with pytest.raises(ValueError, match="site 'z', but the batch has 1 row; choose a batch_size"):
        call(TotalCorrelation_ELBO(10, 6.0), Linear(), rows(1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 1, "beta": 1.0}, "size of at least 2, got 1"),
        ({"size": 10, "beta": -1.0}, "finite beta of at least 0, got -1.0"),
        ({"size": 10, "beta": 1.0, "mutual_information": math.inf}, "mutual_information"),
        ({"size": 10, "beta": 1.0, "dimension_wise": math.nan}, "dimension_wise"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        TotalCorrelation_ELBO(**arguments)
