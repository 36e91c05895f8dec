"""Discrete sites of the guide, summed out; of the drawn ones gradients through the draws."""

import functools

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import TraceEnum_ELBO, config_enumerate
from torch import nn

import ppvae
from ppvae.engine import run_pair
from ppvae.inference import StickingTheLandingEnum_ELBO
from ppvae.inference.steps import objective_for
from ppvae.inference.steps.kl_weight import KLWeight
from tests.engine.compilation.pairs import Summed, SummedInModel, bits
from tests.inference.objectives.test_gradients import assert_same_expectation, sample

ENUMERATED = {"enumerate": "parallel"}


class Chain(nn.Module):
    """Two labels, of which the second depends on the first, and one in a plate within."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.logits = nn.ParameterList(torch.randn(size) for size in ((3,), (3, 4), (4, 2)))
        self.means = nn.Parameter(torch.randn(4, 2))

    def model(self, x):
        pyro.module("chain", self)
        with pyro.plate("data", len(x), dim=-2):
            a = pyro.sample("a", dist.Categorical(logits=torch.zeros(3)))
            b = pyro.sample("b", dist.Categorical(logits=torch.eye(3, 4)[a]))
            with pyro.plate("features", 5, dim=-1):
                c = pyro.sample("c", dist.Categorical(logits=torch.eye(4, 2)[b]))
                pyro.sample("x", dist.Normal(self.means[b, c], 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-2):
            a = pyro.sample("a", dist.Categorical(logits=self.logits[0]), infer=ENUMERATED)
            b = pyro.sample("b", dist.Categorical(logits=self.logits[1][a]), infer=ENUMERATED)
            with pyro.plate("features", 5, dim=-1):
                pyro.sample("c", dist.Categorical(logits=self.logits[2][b]), infer=ENUMERATED)


class Reversed(nn.Module):
    """A mixture whose guide draws z first, and sums over k after it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.locs, self.classifier = nn.Parameter(torch.randn(3, 2)), nn.Linear(2, 3)
        self.loc = nn.Parameter(torch.randn(2))

    def model(self, x):
        pyro.module("pair", self)
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(logits=torch.zeros(3)))
            z = pyro.sample("z", dist.Normal(self.locs[k], 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(self.loc + x, 0.5).to_event(1))
            logits = self.classifier(z)
            pyro.sample("k", dist.Categorical(logits=logits), infer=ENUMERATED)


def value_and_gradients(objective, pair, x):
    torch.manual_seed(1)
    pair.zero_grad()
    value = objective.loss_and_grads(pair.model, pair.guide, x)
    return value, [parameter.grad.clone() for parameter in pair.parameters()]


@pytest.mark.parametrize(("kind", "size", "depth"), [(Chain, 5, 2), (Reversed, 2, 1)])
def test_its_value_is_pyros(kind, size, depth):
    """And the gradient, where nothing is drawn: to rounding."""
    pair, x = kind(), torch.randn(7, size)
    expected, gradients = value_and_gradients(TraceEnum_ELBO(max_plate_nesting=depth), pair, x)
    ours = StickingTheLandingEnum_ELBO(max_plate_nesting=depth)
    found, own = value_and_gradients(ours, pair, x)
    assert found == pytest.approx(expected, rel=1e-5)
    if kind is Chain:
        torch.testing.assert_close(own, gradients, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "draw"), [(Summed, bits), (Reversed, lambda n: torch.randn(n, 2))]
)
def test_its_gradient_has_the_same_mean(kind, draw):
    """Of at most 66 coordinates, |t| above 5.2 in one: once in 10,000 runs."""
    torch.manual_seed(0)
    pair, x = kind(), draw(3)
    pyros = sample(TraceEnum_ELBO(max_plate_nesting=1), pair, x)
    ours = sample(StickingTheLandingEnum_ELBO(max_plate_nesting=1), pair, x, seed=1)
    assert_same_expectation(pyros, ours)


def test_at_the_posterior_its_gradient_has_no_noise():
    """A class and a normal latent, x = z + noise of sd 1: the posterior is known."""

    class Exact(nn.Module):
        def __init__(self):
            super().__init__()
            self.means = nn.Parameter(torch.tensor([-1.0, 2.0]))
            self.scale = nn.Parameter(torch.tensor(0.5).sqrt())

        def model(self, x):
            with pyro.plate("data", len(x)):
                y = pyro.sample("y", dist.Categorical(torch.ones(2)))
                z = pyro.sample("z", dist.Normal(torch.tensor([-1.0, 2.0])[y], 1.0))
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

        def guide(self, x):
            pyro.module("pair", self)
            apart = torch.distributions.Normal(torch.tensor([-1.0, 2.0]), 2**0.5)
            logits = apart.log_prob(x.unsqueeze(1))
            with pyro.plate("data", len(x)):
                y = pyro.sample("y", dist.Categorical(logits=logits), infer=ENUMERATED)
                pyro.sample("z", dist.Normal((self.means[y] + x) / 2, self.scale))

    pair, x = Exact(), torch.randn(5)
    ours = StickingTheLandingEnum_ELBO(max_plate_nesting=1)
    value, gradients = value_and_gradients(ours, pair, x)
    apart = torch.distributions.Normal(torch.tensor([-1.0, 2.0]), 2**0.5)
    evidence = (apart.log_prob(x.unsqueeze(1)).logsumexp(1) - torch.tensor(2.0).log()).sum()
    assert value == pytest.approx(-float(evidence), rel=1e-5)
    assert max(float(gradient.abs().max()) for gradient in gradients) < 1e-4
    _, pyros = value_and_gradients(TraceEnum_ELBO(max_plate_nesting=1), pair, x)
    assert max(float(gradient.abs().max()) for gradient in pyros) > 0.1


def test_a_class_without_probability_counts_nothing():
    class Sure(nn.Module):
        def model(self, x):
            with pyro.plate("data", len(x)):
                y = pyro.sample("y", dist.Categorical(torch.tensor([0.5, 0.5])))
                infinite = torch.tensor([0.0, -torch.inf])[y]
                pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)
                pyro.factor("never", infinite)

        def guide(self, x):
            logits = torch.tensor([0.0, -torch.inf])
            with pyro.plate("data", len(x)):
                pyro.sample("y", dist.Categorical(logits=logits), infer=ENUMERATED)

    pair, x = Sure(), torch.zeros(2)
    found = StickingTheLandingEnum_ELBO(max_plate_nesting=1).loss(pair.model, pair.guide, x)
    log_density = torch.distributions.Normal(0.0, 1.0).log_prob(x).sum()
    assert found == pytest.approx(float(2 * torch.tensor(2.0).log() - log_density))


def test_the_latents_can_have_a_weight():
    pair, x, weight = Chain(), torch.randn(7, 5), KLWeight()
    found = []
    for value in (0.0, 0.25, 1.0):
        weight.value.fill_(value)
        programs = weight.weighted(pair.model), weight.weighted(pair.guide)
        found.append(StickingTheLandingEnum_ELBO(max_plate_nesting=2).loss(*programs, x))
    assert found[1] == pytest.approx(0.75 * found[0] + 0.25 * found[2], rel=1e-5)
    assert found[2] > found[0]
    assert ppvae.fit(pair, x, steps=1, kl_weight=0.5, compile=False).steps == 1


def test_fit_takes_it_where_the_guide_has_all_that_is_summed_out():
    x = bits(4)
    for pair, kind in ((Summed(), StickingTheLandingEnum_ELBO), (SummedInModel(), TraceEnum_ELBO)):
        guide, model = run_pair(pair, (x,))
        assert type(objective_for(guide, model, None)) is kind


def test_what_it_cannot_sum_is_refused():
    pair, x, objective = SummedInModel(), bits(4), StickingTheLandingEnum_ELBO(max_plate_nesting=1)
    with pytest.raises(ppvae.Unsupported, match="site 'k' of the model is missing"):
        objective.loss(pair.model, pair.guide, x)
    summed = Summed()
    one_by_one = config_enumerate(Summed.guide.__wrapped__, default="sequential")
    with pytest.raises(ppvae.Unsupported, match="'y' does not ask"):
        objective.loss(summed.model, functools.partial(one_by_one, summed), x)


def test_chains_are_left_to_pyro():
    """In `pyro.markov` dimensions are used again: `fit` takes another objective."""

    class Steps(nn.Module):
        def model(self, x):
            with pyro.plate("data", len(x)):
                for t in pyro.markov(range(3)):
                    y = pyro.sample(f"y{t}", dist.Bernoulli(0.3))
                    pyro.sample(f"x{t}", dist.Normal(y, 1.0), obs=x[:, t])

        def guide(self, x):
            with pyro.plate("data", len(x)):
                for t in pyro.markov(range(3)):
                    pyro.sample(f"y{t}", dist.Bernoulli(0.4), infer=ENUMERATED)

    pair, x = Steps(), torch.randn(4, 3)
    with pytest.raises(ppvae.Unsupported, match=r"'y0' is enumerated within pyro\.markov"):
        StickingTheLandingEnum_ELBO(max_plate_nesting=1).loss(pair.model, pair.guide, x)
    assert type(objective_for(*run_pair(pair, (x,)), None)) is TraceEnum_ELBO
