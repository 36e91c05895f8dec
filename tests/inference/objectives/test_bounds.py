"""Bounds of log P(X) are bounds, whatever scales the data."""

import contextlib
import itertools
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from torch import nn

from ppvae.inference import (
    CombinedImportanceWeighted_ELBO,
    ImportanceWeighted_ELBO,
    PartiallyImportanceWeighted_ELBO,
    StickingTheLanding_ELBO,
    VariationalRenyi_ELBO,
)
from ppvae.inference.objectives.particles import particles
from ppvae.inference.steps.kl_weight import KLWeight
from tests.engine.compilation.pairs import Plain, SummedInModel, bits
from tests.linear_gaussian import LinearGaussian
from tests.marks import each_once, slow_but

ROWS = 200
CASE = LinearGaussian.random(0, orthogonal=True, perturbation=0.15)

OBJECTIVES = {
    "importance weighted": lambda k: ImportanceWeighted_ELBO(k),
    "doubly reparameterized": lambda k: ImportanceWeighted_ELBO(k, doubly_reparameterized=True),
    "multiply weighted": lambda k: ImportanceWeighted_ELBO(k, repeats=3),
    "combined": lambda k: CombinedImportanceWeighted_ELBO(k, elbo_weight=0.3),
    "partially": lambda k: PartiallyImportanceWeighted_ELBO(k, repeats=3),
    "Renyi 0.5": lambda k: VariationalRenyi_ELBO(0.5, k),
    "Renyi 2": lambda k: VariationalRenyi_ELBO(2, k),
    "sticking the landing": lambda k: StickingTheLanding_ELBO(k),
}


class Scaled(nn.Module):
    """A linear-Gaussian pair in plain Pyro, on a part of the rows, under a scale of its own."""

    def __init__(self, case, size=None, scale=None):
        super().__init__()
        self.case, self.size, self.scale = case, size, scale
        self.slope = nn.Parameter(case.slope.clone())

    @contextlib.contextmanager
    def around(self, x):
        pyro.module("pair", self)
        plate = pyro.plate("data", self.size or len(x), subsample=torch.arange(len(x)), dim=-1)
        scale = contextlib.nullcontext()
        if self.scale is not None:
            scale = pyro.poutine.scale(scale=self.scale)
        with plate, scale:
            yield

    def model(self, x):
        with self.around(x):
            zero = x.new_zeros(self.case.loadings.shape[1])
            z = pyro.sample("code", dist.Normal(zero, 1.0).to_event(1))
            loc = z @ self.case.loadings.T + self.case.offset
            pyro.sample("row", dist.Normal(loc, self.case.noise).to_event(1), obs=x)

    def guide(self, x):
        with self.around(x):
            loc = x @ self.slope.T + self.case.intercept
            pyro.sample("code", dist.Normal(loc, self.case.scale).to_event(1))


def loss(objective, pair, x, seed=0):
    torch.manual_seed(seed)
    return objective.loss(pair.model, pair.guide, x)


def gradients(objective, pair, x, seed=0):
    torch.manual_seed(seed)
    pair.zero_grad()
    value = objective.loss_and_grads(pair.model, pair.guide, x)
    return value, {name: p.grad.clone() for name, p in pair.named_parameters()}


SCALES = {
    "a plain plate": {},
    "a subsample": {"size": 10 * ROWS},
    "a scale": {"scale": 1 / 64},
    "both": {"size": 10 * ROWS, "scale": 1 / 64},
    "a scale of each row": {"scale": torch.linspace(0.1, 2, ROWS).double()},
}


@pytest.mark.parametrize("scales", slow_but({"both", "a scale of each row"}, SCALES))
def test_a_bound_rises_to_log_evidence_under_any_scale(scales):
    """Each bound is two standard errors or more above the one before, of ROWS rows and 8 seeds."""
    pair, x = Scaled(CASE, **scales), CASE.draw(ROWS, 1)
    factor = torch.as_tensor(scales.get("scale", 1.0)).double().expand(ROWS)
    factor = factor * scales.get("size", ROWS) / ROWS
    exact = float((factor * CASE.terms(x)["log_evidence"]).sum() / factor.sum())

    def bound(count):
        objective = ImportanceWeighted_ELBO(count)
        losses = [loss(objective, pair, x, seed) for seed in range(8)]
        return -torch.tensor(losses, dtype=torch.float64) / factor.sum()

    elbo, few, more, many = (bound(count) for count in (1, 5, 50, 500))
    for lower, higher in ((elbo, few), (few, more), (more, many)):
        difference = higher - lower
        assert difference.mean() > 2 * difference.std() / 8**0.5, (lower, higher)
    assert elbo.mean() < exact - 0.3
    error = float(many.std() / 8**0.5)
    assert exact - 0.02 < float(many.mean()) < exact + 4 * error


COMMON = {name: scales for name, scales in SCALES.items() if name != "a scale of each row"}


@pytest.mark.parametrize(("objective", "scales"), each_once(OBJECTIVES, COMMON))
def test_a_scale_of_the_data_multiplies_bound_and_gradient(objective, scales):
    factor = scales.get("size", ROWS) / ROWS * scales.get("scale", 1.0)
    x = CASE.draw(ROWS, 1)
    plain, plain_gradients = gradients(objective(4), Scaled(CASE), x)
    scaled, scaled_gradients = gradients(objective(4), Scaled(CASE, **scales), x)
    assert scaled == pytest.approx(factor * plain, rel=1e-12)
    for name, gradient in plain_gradients.items():
        torch.testing.assert_close(scaled_gradients[name], factor * gradient)


SINGLE = {name: build for name, build in OBJECTIVES.items() if build(1).num_particles == 1}


@pytest.mark.parametrize(("scales", "objective"), each_once(SCALES, SINGLE))
def test_with_one_draw_they_are_the_elbo(objective, scales):
    objective = objective(1)
    pair, x = Scaled(CASE, **scales), CASE.draw(ROWS, 1)
    elbo, plain = gradients(Trace_ELBO(), pair, x)
    value, found = gradients(objective, pair, x)
    assert value == pytest.approx(elbo, rel=1e-12)
    assert loss(objective, pair, x) == pytest.approx(elbo, rel=1e-12)
    if not objective.path_gradient:
        torch.testing.assert_close(found, plain)


@pytest.mark.parametrize("beta", [0.0, 0.3, 4.0])
def test_a_weight_of_the_kl_term_is_within_the_bound(beta):
    """Of one draw it is that of `Trace_ELBO`; of more, of log p(x|z) + beta (log p(z) - log q)."""
    weight = KLWeight()
    weight.value.fill_(beta)
    pair, x = Scaled(CASE, size=10 * ROWS), CASE.draw(ROWS, 1)
    programs = weight.weighted(pair.model), weight.weighted(pair.guide)
    torch.manual_seed(3)
    one = ImportanceWeighted_ELBO(1).loss(*programs, x)
    torch.manual_seed(3)
    assert one == pytest.approx(Trace_ELBO().loss(*programs, x), rel=1e-12)

    torch.manual_seed(3)
    found = ImportanceWeighted_ELBO(7).loss(*programs, x)
    torch.manual_seed(3)
    with pyro.plate("k", 7, dim=-2):
        guide = pyro.poutine.trace(pair.guide).get_trace(x)
    z = guide.nodes["code"]["value"]
    likelihood = dist.Normal(z @ CASE.loadings.T + CASE.offset, CASE.noise).log_prob(x).sum(-1)
    kl = guide.nodes["code"]["fn"].log_prob(z) - dist.Normal(0, 1).log_prob(z).sum(-1)
    weights = likelihood - beta * kl
    by_hand = -10 * (weights.logsumexp(0) - torch.tensor(7.0).log()).sum()
    assert found == pytest.approx(by_hand.item(), rel=1e-6)


def test_rows_that_are_masked_have_no_part():
    class Masked(Scaled):
        def around(self, x):
            @contextlib.contextmanager
            def inside():
                with pyro.plate("data", len(x), dim=-1), pyro.poutine.mask(mask=x[:, 0] > 0):
                    yield

            return inside()

    x = CASE.draw(ROWS, 1)
    masked = loss(ImportanceWeighted_ELBO(5), Masked(CASE), x)
    torch.manual_seed(0)
    each = ImportanceWeighted_ELBO(5)
    structure = each._structure(Scaled(CASE).model, Scaled(CASE).guide, (x,), {})
    torch.manual_seed(0)
    drawn = particles(Scaled(CASE).model, Scaled(CASE).guide, (x,), structure, 5)
    kept = each.bound(drawn.log_weights.detach())[x[:, 0] > 0]
    assert masked == pytest.approx(float(-kept.sum()), rel=1e-9)


class Chosen(nn.Module):
    """All the data go in, the plate chooses rows of them."""

    def __init__(self):
        super().__init__()
        self.inner = Scaled(CASE)

    def model(self, x):
        with pyro.plate("data", len(x), subsample_size=50) as rows:
            z = pyro.sample("code", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            loc = z @ CASE.loadings.T + CASE.offset
            pyro.sample("row", dist.Normal(loc, CASE.noise).to_event(1), obs=x[rows])

    def guide(self, x):
        with pyro.plate("data", len(x), subsample_size=50) as rows:
            loc = x[rows] @ CASE.slope.T + CASE.intercept
            pyro.sample("code", dist.Normal(loc, CASE.scale).to_event(1))


@pytest.mark.slow
def test_a_plate_that_chooses_its_rows():
    x = CASE.draw(ROWS, 1)
    losses = [loss(ImportanceWeighted_ELBO(200), Chosen(), x, seed) for seed in range(200)]
    exact = float(CASE.terms(x)["log_evidence"].sum())
    losses = torch.tensor(losses)
    assert abs(float(losses.mean()) + exact) < 4 * float(losses.std()) / 200**0.5 + 0.02 * ROWS


def test_plates_within_the_datapoint_are_within_the_bound():
    """A subsample of features is a poorer log weight, not a scale of the bound."""

    class Features(Scaled):
        def model(self, x):
            with pyro.plate("data", len(x), dim=-1):
                z = pyro.sample("code", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
                loc = z @ CASE.loadings.T + CASE.offset
                with pyro.plate("features", 10, subsample=torch.arange(5), dim=-2):
                    pyro.sample("row", dist.Normal(loc.T, CASE.noise), obs=x.T)

        def guide(self, x):
            with pyro.plate("data", len(x), dim=-1):
                loc = x @ self.slope.T + CASE.intercept
                pyro.sample("code", dist.Normal(loc, CASE.scale).to_event(1))

    pair, x = Features(CASE), CASE.draw(7, 1)
    elbo = loss(Trace_ELBO(), pair, x)
    assert loss(ImportanceWeighted_ELBO(1), pair, x) == pytest.approx(elbo, rel=1e-12)
    objective = ImportanceWeighted_ELBO(3, vectorize_particles=False)
    found = loss(objective, pair, x)
    torch.manual_seed(0)
    rows = []
    for _ in range(3):
        guide = pyro.poutine.trace(pair.guide).get_trace(x)
        replayed = pyro.poutine.replay(pair.model, trace=guide)
        model = pyro.poutine.trace(replayed).get_trace(x)
        model.compute_log_prob()
        guide.compute_log_prob()
        site = model.nodes["row"]["log_prob"].sum(0)  # twice the sum over half of the features
        rows.append(site + model.nodes["code"]["log_prob"] - guide.nodes["code"]["log_prob"])
    by_hand = torch.stack(rows).logsumexp(0) - torch.tensor(3.0).log()
    assert found == pytest.approx(-by_hand.sum().item(), rel=1e-7)


def test_latents_of_the_model_alone_are_summed_out():
    torch.manual_seed(0)
    pair, x = SummedInModel(), bits(20)
    enumerated = loss(TraceEnum_ELBO(max_plate_nesting=1), pair, x)
    assert loss(ImportanceWeighted_ELBO(1), pair, x) == pytest.approx(enumerated, rel=1e-6)
    bounds = [-loss(ImportanceWeighted_ELBO(k), pair, x) for k in (1, 10, 1000)]
    assert bounds[0] < bounds[1] < bounds[2]


def test_in_parts_it_is_the_same():
    """Of the same draws in the same order: loss and gradients, to rounding."""
    torch.manual_seed(0)
    for build in OBJECTIVES.values():
        pair, x = Plain(), bits(20)
        whole = build(4)
        whole.vectorize_particles = False
        parts = build(4)
        parts.at_once = 1
        value, expected = gradients(whole, pair, x)
        found_value, found = gradients(parts, pair, x)
        assert found_value == pytest.approx(value, rel=1e-6)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "objective",
    [
        ImportanceWeighted_ELBO(4, vectorize_particles=False),
        ImportanceWeighted_ELBO(4, at_once=2),
    ],
)
def test_draws_of_several_runs_must_be_of_the_same_rows(objective):
    with pytest.raises(ValueError, match="chooses its rows anew for every run"):
        loss(objective, Chosen(), CASE.draw(ROWS, 1))


class Summed(nn.Module):
    """A latent of the model alone in a plate within the datapoint."""

    def model(self, x):
        with pyro.plate("data", len(x), dim=-2):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 1), 1.0))
            with pyro.plate("features", 3, dim=-1):
                k = pyro.sample("k", dist.Bernoulli(0.7), infer={"enumerate": "parallel"})
                pyro.sample("x", dist.Normal(z + 3 * k, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("z", dist.Normal(x.mean(1, keepdim=True), 1.0))


def test_latents_are_summed_out_in_plates_of_their_own():
    pair, x = Summed(), torch.randn(5, 3)
    expected = loss(TraceEnum_ELBO(max_plate_nesting=2), pair, x)
    assert loss(ImportanceWeighted_ELBO(1), pair, x) == pytest.approx(expected, rel=1e-5)


def test_latents_are_summed_out_within_the_product_over_a_plate_of_their_own():
    pair, x = Summed(), torch.randn(5, 3) + 2
    torch.manual_seed(0)
    z = pyro.poutine.trace(pair.guide).get_trace(x).nodes["z"]["value"]
    terms = []
    for labels in itertools.product((0.0, 1.0), repeat=3):
        weight = math.prod(0.7 if k else 0.3 for k in labels)
        scores = torch.distributions.Normal(z + 3 * torch.tensor(labels), 1.0).log_prob(x)
        terms.append(math.log(weight) + scores.sum(1))
    log_prior = torch.distributions.Normal(0.0, 1.0).log_prob(z)
    log_posterior = torch.distributions.Normal(x.mean(1, keepdim=True), 1.0).log_prob(z)
    weights = torch.stack(terms).logsumexp(0) + (log_prior - log_posterior).squeeze(1)
    assert math.isclose(loss(ImportanceWeighted_ELBO(1), pair, x), -weights.sum(), rel_tol=1e-5)


class Labeled(nn.Module):
    """Labels are observed where they are given."""

    def model(self, x, y=None):
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Categorical(x.new_ones(3)), obs=y)
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z + 0 * x, 1.0).to_event(1), obs=x)

    def guide(self, x, y=None):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x[:, :1], 1.0).to_event(1))


@pytest.mark.parametrize("labeled_first", [True, False])
def test_labels_are_observed_where_given_and_summed_out_elsewhere(labeled_first):
    """They tell nothing of x, and are one of three."""
    objective, pair, x = ImportanceWeighted_ELBO(2), Labeled(), torch.randn(5, 3)
    found = {}
    for given in (labeled_first, not labeled_first):
        torch.manual_seed(0)
        labels = {"y": torch.zeros(5).long() if given else None}
        found[given] = objective.loss(pair.model, pair.guide, x, **labels)
    assert found[True] - found[False] == pytest.approx(5 * math.log(3), rel=1e-5)
    torch.manual_seed(0)
    assert objective.loss(pair.model, pair.guide, x) == found[False]


class Moody(Labeled):
    """Observes labels of its own at every second call."""

    calls = 0

    def model(self, x):
        self.calls += 1
        super().model(x, None if self.calls % 2 else x[:, 0].long() * 0)

    def guide(self, x):
        super().guide(x)


def test_sites_that_are_latent_now_and_then_are_not_mistaken():
    objective, pair, x = ImportanceWeighted_ELBO(1), Moody(), torch.randn(5, 3)
    with pytest.raises(ValueError, match=r"others than when the objective first met this pair"):
        for _ in range(2):
            objective.loss(pair.model, pair.guide, x)


class TwoObserved(Scaled):
    """Two observed sites, the second of which weighs less."""

    def model(self, x):
        with self.around(x):
            zero = x.new_zeros(self.case.loadings.shape[1])
            z = pyro.sample("code", dist.Normal(zero, 1.0).to_event(1))
            loc = z @ self.case.loadings.T + self.case.offset
            pyro.sample("row", dist.Normal(loc, self.case.noise).to_event(1), obs=x)
            with pyro.poutine.scale(scale=0.5):
                pyro.sample("again", dist.Normal(loc, 2.0).to_event(1), obs=x)


def test_observed_sites_of_different_scales_are_refused_where_it_matters_which_is_first():
    pair, x = TwoObserved(CASE), CASE.draw(20, 1)
    with pytest.raises(ValueError, match="site 'again' is scaled otherwise than site 'row'"):
        loss(ImportanceWeighted_ELBO(2), pair, x)
    elbo = loss(Trace_ELBO(), pair, x)
    for objective in (ImportanceWeighted_ELBO(1), StickingTheLanding_ELBO(1)):
        assert loss(objective, pair, x) == pytest.approx(elbo, rel=1e-12)
    assert loss(StickingTheLanding_ELBO(3), pair, x) > 0
