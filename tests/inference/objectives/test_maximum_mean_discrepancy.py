"""The discrepancy of aggregate posterior and prior: against sums and integrals written out."""

import functools
import math

import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch.distributions import Normal, kl_divergence

import ppvae
from ppvae.inference import InverseMultiquadratics, MaximumMeanDiscrepancy_ELBO
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
from tests.marks import slow_but

SCALES = [(None, None, 1.0), (60, None, 5.0), (None, 0.25, 0.25), (60, 0.5, 2.5)]


def gaussian(x, y):
    return (-(x.unsqueeze(-2) - y.unsqueeze(-3)).square().sum(-1) / 2).exp()


def multiquadratic(x, y):
    """The sum of kernels of one pair of draws, as WAE writes it."""
    square = float(((x - y) ** 2).sum())
    base = 2.0 * len(x)
    return sum(s * base / (s * base + square) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))


def by_hand(z, y, kernel=multiquadratic):
    """The U-statistic, pair by pair."""
    n = len(z)
    different = [(i, j) for i in range(n) for j in range(n) if i != j]
    within = sum(kernel(z[i], z[j]) + kernel(y[i], y[j]) for i, j in different)
    across = sum(kernel(z[i], y[j]) for i in range(n) for j in range(n))
    return within / (n * (n - 1)) - 2 * across / n**2


def prior_draws(pair, x, seed=0):
    """Return what a call draws from the prior, after all else."""
    drawn(pair, x, seed)
    return torch.randn(len(x), LATENT, dtype=x.dtype)


@pytest.mark.parametrize(("size", "scale", "factor"), SCALES)
@pytest.mark.parametrize("kl_weight", [0.0, 0.7])
def test_loss_is_the_hand_computed_one(kl_weight, size, scale, factor):
    pair, x = Linear(size, scale), rows()
    loss, _ = call(MaximumMeanDiscrepancy_ELBO(3.0, kl_weight), pair, x)
    z, likelihood = drawn(pair, x)
    discrepancy = by_hand(z, prior_draws(pair, x))
    posterior = Normal(x @ pair.slope, pair.log_scale.exp())
    kl = kl_divergence(posterior, Normal(torch.zeros(LATENT).double(), 1.0)).sum(1).mean()
    expected = kl_weight * kl.item() + 3.0 * discrepancy - likelihood.mean().item()
    assert loss == pytest.approx(factor * len(x) * expected, rel=1e-10)


@pytest.mark.parametrize(("size", "scale"), [case[:2] for case in SCALES])
def test_without_a_weight_it_is_the_closed_form_elbo(size, scale):
    pair, x = Linear(size, scale), rows()
    ours = call(MaximumMeanDiscrepancy_ELBO(0.0), pair, x)
    assert_same(ours, call(TraceMeanField_ELBO(), pair, x))


def test_gradients_go_through_the_draws_of_guide_and_prior():
    class Learned(Linear):
        def __init__(self):
            super().__init__()
            self.center = torch.nn.Parameter(torch.tensor([0.3, -0.5, 1.0]).double())

        def prior(self, x):
            return dist.Normal(self.center, 1.0).to_event(1)

    pair, x = Learned(), rows()
    _, gradients = call(MaximumMeanDiscrepancy_ELBO(3.0, 0.0, gaussian), pair, x)
    loc, scale = x @ pair.slope, pair.log_scale.exp()
    z = loc + scale * ((drawn(pair, x)[0] - loc) / scale).detach()
    y = pair.center + prior_draws(pair, x)
    discrepancy = by_hand(z, y, lambda a, b: (-(a - b).square().sum() / 2).exp())
    loss = 3.0 * len(x) * discrepancy - Normal(z @ pair.loadings, 1.0).log_prob(x).sum()
    names = ["loadings", "slope", "log_scale", "center"]
    expected = torch.autograd.grad(loss, [getattr(pair, name) for name in names])
    assert_same([gradients[name] for name in names], list(expected), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 0.8])
def test_the_estimate_has_no_bias(shift):
    # A normal test at 4.5 standard errors: it fails by chance less often than 7e-6. q(z) is
    # N(shift, 1) for every x; with k(x, y) = exp(-(x - y)^2 / 2) all means are Gaussian integrals.
    class Shifted(Linear):
        def posterior(self, x):
            return dist.Normal(x.new_full((len(x), LATENT), shift), 1.0).to_event(1)

    pair, x = Shifted(), rows(8)
    with_it, without = (
        MaximumMeanDiscrepancy_ELBO(weight, 0.0, gaussian) for weight in (1.0, 0.0)
    )
    estimates = torch.tensor(
        [
            (call(with_it, pair, x, seed)[0] - call(without, pair, x, seed)[0]) / len(x)
            for seed in range(400)
        ]
    )
    exact = 2 * 3.0 ** (-LATENT / 2) * (1 - math.exp(-LATENT * shift**2 / 6))
    error = estimates.std() / math.sqrt(len(estimates))
    assert abs(estimates.mean() - exact) < 4.5 * error
    assert (estimates.min() < 0) and error < 0.01


def test_the_default_kernel_is_that_of_the_paper():
    x, y = rows(5, 3), rows(4, 3, seed=2)
    kernel = InverseMultiquadratics()(x, y)
    expected = torch.tensor([[multiquadratic(a, b) for b in y] for a in x]).double()
    torch.testing.assert_close(kernel, expected)
    wider = InverseMultiquadratics(variance=4.0)(2 * x, 2 * y)
    torch.testing.assert_close(wider, expected)


def test_evaluation_is_the_plain_elbo():
    pair, x = Linear(60, 0.5), rows()
    objective = MaximumMeanDiscrepancy_ELBO(10.0, 0.0)
    assert evaluated(objective, pair, x) == evaluated(Trace_ELBO(), pair, x)


@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0])
def test_the_weight_of_the_kl_multiplies_the_discrepancy_too(weight):
    pair, x = Linear(), rows()
    fit = ppvae.fit(
        pair,
        x,
        steps=1,
        batch_size=len(x),
        optimizer=functools.partial(torch.optim.SGD, lr=0.0),
        objective=MaximumMeanDiscrepancy_ELBO(3.0, 0.5),
        kl_weight=weight,
        seed=4,
    )
    z, likelihood = drawn(pair, x, 4)
    posterior = Normal(x @ pair.slope, pair.log_scale.exp())
    kl = kl_divergence(posterior, Normal(torch.zeros(LATENT).double(), 1.0)).sum(1).mean()
    penalty = 0.5 * kl.item() + 3.0 * by_hand(z, prior_draws(pair, x, 4))
    expected = weight * penalty - likelihood.mean().item()
    assert float(fit.history.train_loss[-1]) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("vectorize", [False, True])
def test_particles_are_averaged(vectorize):
    pair, x = Linear(scale=5.0), rows()
    options = {"num_particles": 3, "vectorize_particles": vectorize, "max_plate_nesting": 1}
    with_it, without = (
        call(MaximumMeanDiscrepancy_ELBO(weight, **options), pair, x)[0] for weight in (2.0, 0.0)
    )
    torch.manual_seed(0)
    shapes = [[3]] if vectorize else [[], [], []]
    parts = []
    for shape in shapes:
        z = pair.posterior(x).rsample(shape).detach().reshape(-1, 12, LATENT)
        y = torch.randn(*shape, 12, LATENT, dtype=x.dtype).reshape(-1, 12, LATENT)
        parts += [by_hand(*both) for both in zip(z, y, strict=True)]
    assert with_it - without == pytest.approx(60 * 2.0 * sum(parts) / 3, rel=1e-9)


class Mixed(Linear):
    """A prior that cannot be reparameterized, and has no closed-form KL."""

    def prior(self, x):
        locs = torch.tensor([[-1.0], [1.0]]).double().expand(2, LATENT)
        return dist.MixtureSameFamily(
            dist.Categorical(logits=x.new_zeros(2)), dist.Normal(locs, 0.5).to_event(1)
        )


def test_a_prior_without_closed_form_is_drawn_from_too():
    pair, x = Mixed(), rows()
    ours = call(MaximumMeanDiscrepancy_ELBO(0.0), pair, x)
    assert_same(ours, call(Trace_ELBO(), pair, x))
    assert call(MaximumMeanDiscrepancy_ELBO(5.0), pair, x)[0] != ours[0]


@pytest.mark.parametrize(
    "build",
    slow_but(
        {Mixed},
        [Linear, Correlated, Mixed, functools.partial(Linear, 60, torch.tensor(0.5).double())],
    ),
)
def test_the_graph_is_the_objective_exactly(build):
    first, second = replayed_and_eager(MaximumMeanDiscrepancy_ELBO(5.0), build())
    assert_same(first, second, rtol=0)


def test_training_by_fit(monkeypatch):
    assert_trains(monkeypatch, MaximumMeanDiscrepancy_ELBO(1.0, 0.5))


def test_a_guide_of_single_points_trains_without_a_kl():
    class Point(Linear):
        def posterior(self, x):
            return dist.Delta(x @ self.slope, event_dim=1)

    pair, x = Point(), rows()
    loss, gradients = call(MaximumMeanDiscrepancy_ELBO(5.0, 0.0), pair, x)
    assert math.isfinite(loss) and gradients["slope"].abs().min() > 0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (Discrete, "'z' has OneHotCategorical in the guide, which cannot be reparameterized"),
        (Auxiliary, "the site 'beside'"),
        (OtherPlate, "the plates of latent site 'z' are 'batch'"),
        (TwoLatents, "one latent site, got 'z', 'other'"),
        (GlobalLatent, "'z' stands outside the plate 'data'"),
        (Masked, "latent site 'z' is masked"),
    ],
)
def test_refusals_name_the_site(build, message):
    with pytest.raises(ValueError, match=message):
        call(MaximumMeanDiscrepancy_ELBO(5.0), build(), rows())


def test_a_single_row_is_refused():
    with pytest.raises(ValueError, match="site 'z', but the batch has 1 row; choose a batch_size"):
        call(MaximumMeanDiscrepancy_ELBO(5.0), Linear(), rows(1))


@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_arguments_are_checked(value):
    with pytest.raises(ValueError, match=f"finite weight of at least 0, got {value}"):
        MaximumMeanDiscrepancy_ELBO(value)
    with pytest.raises(ValueError, match=f"finite kl_weight of at least 0, got {value}"):
        MaximumMeanDiscrepancy_ELBO(1.0, value)
    with pytest.raises(ValueError, match=r"positive, finite variance and scales, got .*1\.0"):
        InverseMultiquadratics(value, [1.0])
    with pytest.raises(ValueError, match="positive, finite variance and scales, got 1.0 and"):
        InverseMultiquadratics(scales=[])
