"""Floors under the KL: hand computations, and the ELBO where no floor is active."""

import functools
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from torch.distributions import Normal, kl_divergence

import ppvae
from ppvae.inference import FreeBits_ELBO, JointOptim
from tests.inference.objectives.cases import (
    LATENT,
    Auxiliary,
    BottomUp,
    Correlated,
    Discrete,
    GlobalLatent,
    Linear,
    Masked,
    Missing,
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
from tests.marks import slow_but

SCALES = [(None, None, 1.0), (60, None, 5.0), (None, 0.25, 0.25), (60, 0.5, 2.5)]


def kl_of(pair, x):
    """KL of every row and dimension, in closed form."""
    posterior = Normal(x @ pair.slope, pair.log_scale.exp().expand(len(x), LATENT))
    return kl_divergence(posterior, Normal(torch.zeros(LATENT).double(), 1.0))


def by_hand(pair, x, nats, per_dimension=False, seed=0):
    """The loss per datapoint, as the paper writes it."""
    means = kl_of(pair, x).mean(0)
    kl = means.clamp(min=nats).sum() if per_dimension else means.sum().clamp(min=nats)
    return (kl - drawn(pair, x, seed)[1].mean()).item()


@pytest.mark.parametrize(("size", "scale", "factor"), SCALES)
@pytest.mark.parametrize("per_dimension", [False, True])
@pytest.mark.parametrize("nats", [0.0, 0.4, 1.1, 20.0])
def test_loss_is_the_hand_computed_one(nats, per_dimension, size, scale, factor):
    pair, x = Linear(size, scale), rows()
    loss, _ = call(FreeBits_ELBO(nats, per_dimension), pair, x)
    expected = factor * len(x) * by_hand(pair, x, nats, per_dimension)
    assert loss == pytest.approx(expected, rel=1e-12)


def test_floors_of_the_hand_computation_are_passed_by_some_dimensions_only():
    means = kl_of(Linear(), rows()).mean(0)
    assert means.min() < 0.4 < means.max() < 1.1 < means.sum()


@pytest.mark.parametrize("per_dimension", [False, True])
@pytest.mark.parametrize(("size", "scale", "factor"), SCALES)
def test_below_every_floor_the_guide_hears_of_the_likelihood_alone(
    per_dimension, size, scale, factor
):
    pair, x = Linear(size, scale), rows()
    _, gradients = call(FreeBits_ELBO(20.0, per_dimension), pair, x)
    loc, spread = x @ pair.slope, pair.log_scale.exp()
    noise = ((drawn(pair, x)[0] - loc) / spread).detach()
    z = loc + spread * noise
    likelihood = factor * Normal(z @ pair.loadings, 1.0).log_prob(x).sum()
    names = ["loadings", "slope", "log_scale"]
    expected = torch.autograd.grad(-likelihood, [getattr(pair, name) for name in names])
    assert gradients.keys() == set(names)
    assert_same([gradients[name] for name in names], list(expected))


def test_a_dimension_below_its_floor_has_no_gradient_of_the_kl():
    pair, x = Linear(), rows()
    floors, free = (call(FreeBits_ELBO(nats, True), pair, x)[1] for nats in (0.4, 0.0))
    means = kl_of(pair, x).mean(0)
    kl = len(x) * torch.where(means < 0.4, means, 0.0).sum()
    (dropped,) = torch.autograd.grad(kl, [pair.log_scale])
    assert dropped.abs().max() > 1
    assert_same(floors["log_scale"] + dropped, free["log_scale"])


@pytest.mark.parametrize(("size", "scale", "factor"), SCALES)
@pytest.mark.parametrize("per_dimension", [False, True])
@pytest.mark.parametrize("nats", [0.0, 1e-3])
def test_without_an_active_floor_it_is_the_closed_form_elbo(
    nats, per_dimension, size, scale, factor
):
    pair, x = Linear(size, scale), rows()
    ours = call(FreeBits_ELBO(nats, per_dimension), pair, x)
    assert_same(ours, call(TraceMeanField_ELBO(), pair, x))


class NoClosedForm(Linear):
    def prior(self, x):
        return dist.StudentT(5.0, x.new_zeros(LATENT), 1.0).to_event(1)


@pytest.mark.parametrize("build", [BottomUp, NoClosedForm])
@pytest.mark.parametrize("scale", [None, 0.25])
def test_without_a_closed_form_it_is_the_elbo_draw_by_draw(build, scale):
    # Closed forms summed site by site would be wrong for the bottom-up guide.
    pair, x = build(scale=scale), rows()
    for nats in (0.0, 1e-3):
        assert_same(call(FreeBits_ELBO(nats), pair, x), call(Trace_ELBO(), pair, x))


def test_without_a_closed_form_dimensions_have_floors_too():
    pair, x = NoClosedForm(), rows()
    z, likelihood = drawn(pair, x)
    q, p = pair.posterior(x).base_dist, pair.prior(x).base_dist
    means = (q.log_prob(z) - p.log_prob(z)).mean(0)
    assert means.min() < 0.5 < means.max()
    loss, _ = call(FreeBits_ELBO(0.5, True), pair, x)
    expected = len(x) * (means.clamp(min=0.5).sum() - likelihood.mean())
    assert loss == pytest.approx(expected.item(), rel=1e-12)


def test_every_site_has_its_own_floor():
    pair, x = TwoLatents(), rows()  # the second has a KL of 0
    loss, _ = call(FreeBits_ELBO(0.5), pair, x)
    expected = by_hand(pair, x, 0.5) + 0.5
    assert loss == pytest.approx(len(x) * expected, rel=1e-12)


def test_evaluation_is_the_plain_elbo():
    pair, x = Linear(60, 0.5), rows()
    plain = evaluated(Trace_ELBO(), pair, x)
    assert evaluated(FreeBits_ELBO(20.0), pair, x) == plain
    assert evaluated(FreeBits_ELBO(20.0, True), pair, x) == plain


@pytest.mark.parametrize("per_dimension", [False, True])
@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0])
def test_the_weight_of_the_kl_is_outside_of_the_floor(weight, per_dimension):
    pair, x = Linear(), rows()
    still = functools.partial(torch.optim.SGD, lr=0.0)
    fit = ppvae.fit(
        pair,
        x,
        steps=1,
        batch_size=len(x),
        optimizer=still,
        objective=FreeBits_ELBO(0.5, per_dimension),
        kl_weight=weight,
        seed=4,
    )
    means = kl_of(pair, x).mean(0)
    kl = means.clamp(min=0.5).sum() if per_dimension else means.sum().clamp(min=0.5)
    expected = weight * kl.item() - drawn(pair, x, 4)[1].mean().item()
    assert float(fit.history.train_loss[-1]) == pytest.approx(expected, rel=1e-12)


def test_a_weight_of_the_models_site_alone_is_not_lost():
    # TraceMeanField_ELBO takes the guide's, which is 1.
    class OneSided(Linear):
        def model(self, x):
            with self.rows(x):
                with pyro.poutine.scale(scale=x.new_tensor(0.2)):
                    z = pyro.sample("z", self.prior(x))
                pyro.sample("x", dist.Normal(z @ self.loadings, 1.0).to_event(1), obs=x)

    pair, x = OneSided(), rows()
    z, likelihood = drawn(pair, x)
    kl = kl_of(pair, x).sum() + 0.8 * pair.prior(x).log_prob(z).sum()
    loss, _ = call(FreeBits_ELBO(0.0), pair, x)
    assert loss == pytest.approx((kl - likelihood.sum()).item(), rel=1e-12)


@pytest.mark.parametrize("per_dimension", [False, True])
def test_masked_rows_are_no_part_of_the_mean(per_dimension):
    pair, x = Masked(), rows()
    seen = x[:, 0] > 0
    assert 2 < seen.sum() < 10
    for nats in (0.0, 1.1, 20.0):
        loss, _ = call(FreeBits_ELBO(nats, per_dimension), pair, x)
        means = kl_of(pair, x)[seen].mean(0)
        kl = means.clamp(min=nats).sum() if per_dimension else means.sum().clamp(min=nats)
        expected = seen.sum() * kl - drawn(pair, x)[1][seen].sum()
        assert loss == pytest.approx(expected.item(), rel=1e-12)


class Times(Linear):
    """z of two times in a plate of its own, half of it; data plate at the left."""

    def program(self, x, q):
        with pyro.plate("data", 24, subsample_size=len(x), dim=-2):
            with pyro.plate("time", 4, subsample_size=2, dim=-1):
                loc = x[:, :2] if q else 0 * x[:, :2]
                scale = self.log_scale[:2].exp() if q else 1.0
                z = pyro.sample("z", dist.Normal(loc, scale))
                if not q:
                    pyro.sample("x", dist.Normal(z, 1.0), obs=x[:, 2:])

    def model(self, x):
        self.program(x, False)

    def guide(self, x):
        ppvae.engine.parameters.announce(self)
        self.program(x, True)


def test_inner_plates_are_dimensions_and_their_scale_is_theirs():
    pair, x = Times(), rows()
    q = Normal(x[:, :2], pair.log_scale[:2].exp())
    means = 2 * kl_divergence(q, Normal(torch.zeros(2).double(), 1.0)).mean(0)
    free = call(FreeBits_ELBO(0.0), pair, x)[0]
    floor = means.mean().item()  # between the two dimensions
    for nats, per_dimension, kl in (
        (floor, True, means.clamp(min=floor).sum()),
        (floor, False, means.sum()),
        (20.0, True, torch.tensor(40.0)),
        (20.0, False, torch.tensor(20.0)),
    ):
        loss, _ = call(FreeBits_ELBO(nats, per_dimension), pair, x)
        assert loss - free == pytest.approx(24 * (kl - means.sum()).item(), rel=1e-9, abs=1e-9)


def test_a_latent_of_all_datapoints_has_no_floor():
    pair, x = GlobalLatent(), rows()
    for objective in (FreeBits_ELBO(50.0), FreeBits_ELBO(50.0, True)):
        assert_same(call(objective, pair, x), call(TraceMeanField_ELBO(), pair, x))


@pytest.mark.parametrize("per_dimension", [False, True])
def test_particles_are_averaged_before_the_maximum(per_dimension):
    pair, x = NoClosedForm(scale=5.0), rows()
    q, p = pair.posterior(x).base_dist, pair.prior(x).base_dist
    for vectorize in (False, True):
        objective = FreeBits_ELBO(
            0.6, per_dimension, num_particles=3, vectorize_particles=vectorize, max_plate_nesting=1
        )
        loss, gradients = call(objective, pair, x)
        torch.manual_seed(0)
        shapes = [[3]] if vectorize else [[], [], []]
        z = torch.cat([pair.posterior(x).rsample(shape).reshape(-1, 12, 3) for shape in shapes])
        means = (q.log_prob(z) - p.log_prob(z)).mean((0, 1))
        likelihood = Normal(z @ pair.loadings, 1.0).log_prob(x).sum(-1).mean()
        kl = means.clamp(min=0.6).sum() if per_dimension else means.sum().clamp(min=0.6)
        assert loss == pytest.approx(60 * (kl - likelihood).item(), rel=1e-12)
        assert len(gradients) == 3


SCALED = functools.partial(Linear, 60, torch.tensor(0.5))


@pytest.mark.parametrize("per_dimension", [False, True])
@pytest.mark.parametrize(
    "build", slow_but({Masked, TwoLatents}, [Linear, NoClosedForm, Masked, TwoLatents, SCALED])
)
def test_the_graph_is_the_objective_exactly(build, per_dimension):
    first, second = replayed_and_eager(FreeBits_ELBO(0.6, per_dimension), build())
    assert_same(first, second, rtol=0)


def test_training_by_svi_and_by_fit(monkeypatch):
    pair, x = Linear(), rows(60)
    svi = SVI(pair.model, pair.guide, JointOptim(torch.optim.Adam), FreeBits_ELBO(0.5))
    assert all(math.isfinite(svi.step(x)) for _ in range(3))
    assert_trains(monkeypatch, FreeBits_ELBO(0.5, True))


@pytest.mark.parametrize(
    ("build", "per_dimension", "message"),
    [
        (Discrete, False, "'z' has OneHotCategorical in the guide, which cannot be reparam"),
        (Correlated, True, "'z' has MultivariateNormal in the guide"),
        (Auxiliary, False, "the site 'beside'"),
        (OtherPlate, False, "the plates of latent site 'z' are 'batch'"),
    ],
)
def test_refusals_name_the_site(build, per_dimension, message):
    with pytest.raises(ValueError, match=message):
        call(FreeBits_ELBO(0.5, per_dimension), build(), rows())


def test_a_latent_that_the_guide_lacks_is_refused():
    with (
        pytest.warns(UserWarning, match="not guide"),
        pytest.raises(ValueError, match="'lacking' of the model is missing"),
    ):
        call(FreeBits_ELBO(0.5), Missing(), rows())


def test_a_correlated_guide_has_a_floor_as_a_whole():
    pair, x = Correlated(), rows()
    assert call(FreeBits_ELBO(20.0), pair, x)[0] > call(FreeBits_ELBO(0.1), pair, x)[0]


@pytest.mark.parametrize("nats", [-0.1, math.inf, math.nan])
def test_a_floor_is_a_finite_number(nats):
    with pytest.raises(ValueError, match=f"finite nats of at least 0, got {nats}"):
        FreeBits_ELBO(nats)
