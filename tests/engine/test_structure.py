"""Pairs whose structure the diagnostics must see through, or refuse by name."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer.autoguide import AutoDelta, AutoNormal
from torch import nn

from ppvae import diagnostics
from ppvae.engine.draws.chunks import draw_chunks
from ppvae.engine.isolation import isolated
from tests.linear_gaussian import LinearGaussian
from tests.strangers import Marginalized

Y = torch.tensor([0.3, -1.2, 2.0, 0.1])


class Scalar:
    """z ~ N(0, 1), y ~ N(z, 1); what is unusual is in the subclass."""

    def model(self, y):
        with pyro.plate("data", len(y)):
            z = pyro.sample("z", self.prior())
            self.observe(z, y)

    def prior(self):
        return dist.Normal(0.0, 1.0)

    def observe(self, z, y):
        pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    def guide(self, y):
        with pyro.plate("data", len(y)):
            pyro.sample("z", dist.Normal(y / 2, math.sqrt(0.5)))

    exact = staticmethod(lambda y: dist.Normal(0.0, math.sqrt(2)).log_prob(y))


class Deterministic(Scalar):
    """Says more than it draws."""

    def observe(self, z, y):
        pyro.deterministic("twice", 2 * z)
        super().observe(z, y)

    def guide(self, y):
        pyro.deterministic("half", y / 2)
        super().guide(y)


class MaskedDiscrete(Scalar):
    """Of the last two rows neither the class nor the observation was seen."""

    seen = torch.tensor([True, True, False, False])

    def observe(self, z, y):
        with poutine.mask(mask=self.seen):
            k = pyro.sample("k", dist.Categorical(torch.tensor([0.3, 0.7])))
            pyro.sample("y", dist.Normal(z + k, 1.0), obs=y)

    def guide(self, y):
        with pyro.plate("data", len(y)):
            pyro.sample("z", dist.Normal(torch.zeros_like(y), 1.0))


def test_deterministic_sites_are_no_latents():
    evidence = diagnostics.evidence(Deterministic(), Y, draws=5)
    assert np.allclose(evidence.log_evidence, Scalar.exact(Y), atol=1e-5)


def test_masked_and_summed_out_site_counts_for_nothing():
    weights = diagnostics.weights(MaskedDiscrete(), Y, draws=20)
    assert np.allclose(weights[:, 2:], 0, atol=1e-6)
    assert float(np.abs(weights[:, :2]).min()) > 0.01


def test_a_state_of_a_chain_outside_of_its_loop_is_refused():
    class Chain(Scalar):
        def observe(self, z, y):
            state = 0
            for step in pyro.markov(range(3)):
                state = pyro.sample(
                    f"k{step}", dist.Categorical(torch.tensor([[0.9, 0.1], [0.2, 0.8]])[state])
                )
            super().observe(z + state, y)

    with pytest.raises(ValueError, match=r"site 'y' has .* in no plate and no loop"):
        diagnostics.weights(Chain(), Y, draws=5)


class Auxiliary(Scalar):
    """q(z|x) is the integral over a of q(a) q(z|a, x): its density is not known."""

    def guide(self, y):
        with pyro.plate("data", len(y)):
            a = pyro.sample("a", dist.Normal(torch.zeros_like(y), 1.0), infer=AUXILIARY)
            pyro.sample("z", dist.Normal(a, 0.5))


AUXILIARY = {"is_auxiliary": True}


class Point(Scalar):
    def guide(self, y):
        with pyro.plate("data", len(y)):
            pyro.sample("z", dist.Delta(y / 2))


class Improper(Scalar):
    def prior(self):
        return dist.ImproperUniform(dist.constraints.real, (), ())


DEGENERATE = {
    "auxiliary": (Auxiliary(), "latent site 'z' the guide draws auxiliary sites too"),
    "point": (Point(), r"latent site 'z' the guide gives a single point \(Delta\)"),
    "improper": (Improper(), "latent site 'z' the prior is improper"),
}


@pytest.mark.parametrize(("pair", "message"), DEGENERATE.values(), ids=DEGENERATE.keys())
@pytest.mark.parametrize("diagnostic", ["weights", "evidence"])
def test_weights_that_mean_nothing_are_refused(diagnostic, pair, message):
    with pytest.raises(ValueError, match=message):
        getattr(diagnostics, diagnostic)(pair, Y, draws=5)


def test_guide_that_maps_auxiliary_draws_has_a_density():
    pair = Scalar()
    pair.guide = AutoNormal(pair.model, init_scale=math.sqrt(0.5))
    pair.guide(Y)
    with torch.no_grad():
        dict(pair.guide.named_parameters())["locs.z_unconstrained"].copy_(Y / 2)
    evidence = diagnostics.evidence(pair, Y, draws=5)
    assert np.allclose(evidence.log_evidence, Scalar.exact(Y), atol=1e-5)
    # Its latent looks like a point at each draw, but its mean is that of many.
    units = diagnostics.active_units(pair, Y, draws=2000)
    assert float(units.variance.z) == pytest.approx(float((Y / 2).var()), abs=0.1)
    pair.guide = AutoDelta(pair.model)
    pair.guide(Y)
    with pytest.raises(ValueError, match="single point"):
        diagnostics.weights(pair, Y, draws=5)


def test_mean_over_auxiliary_sites_is_that_of_all_draws():
    assert float(diagnostics.active_units(Auxiliary(), Y, draws=5000).variance.z) < 0.01


def test_latent_without_a_mean_is_averaged_over_draws():
    class Classes(Scalar):
        def prior(self):
            return dist.Categorical(torch.ones(3) / 3)

        def guide(self, y):
            with pyro.plate("data", len(y)):
                pyro.sample("z", dist.Categorical(logits=torch.stack([y, -y, 0 * y], -1)))

    assert np.isfinite(diagnostics.active_units(Classes(), Y).variance.z)


def test_plate_at_two_dimensions_is_refused():
    class Shifted(Scalar):
        def model(self, y):
            with pyro.plate("data", len(y), dim=-2):
                z = pyro.sample("z", dist.Normal(0.0, 1.0))
                pyro.sample("y", dist.Normal(z, 1.0), obs=y[:, None])

    with pytest.raises(ValueError, match="at dimension -1 in the guide and -2 in the model"):
        diagnostics.weights(Shifted(), Y, draws=5)


class HoldsNetworks(Scalar):
    """No module itself: what it trains is announced as pyro.module."""

    def __init__(self):
        self.networks = [
            nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
        ]

    def guide(self, y):
        pyro.module("network", self.networks[0])
        with pyro.plate("data", len(y)):
            pyro.sample("z", dist.Normal(self.networks[0](y[:, None])[:, 0], 0.7))


def test_modules_that_a_pair_holds_are_evaluated_and_left_as_they_were():
    pair, rows = HoldsNetworks(), torch.ones(6)
    kl = diagnostics.evidence(pair, rows, draws=2).kl
    assert float(kl.max() - kl.min()) < 1e-6  # no dropout
    assert int(pair.networks[0][1].num_batches_tracked) == 0
    assert pair.networks[0].training


def test_double_pair_that_is_no_module_reads_double_data():
    exact = LinearGaussian.random(0, orthogonal=True, perturbation=0.0)
    inner = exact.pair()

    class Plain:
        model = staticmethod(lambda x: inner.model(x))
        guide = staticmethod(lambda x: inner.guide(x))

    x = exact.draw(5, seed=0)
    evidence = diagnostics.evidence(Plain(), x, draws=3)
    assert np.allclose(evidence.log_evidence, exact.terms(x)["log_evidence"], atol=1e-9)


class InnerPlate(Scalar):
    def model(self, y):
        data = pyro.plate("data", len(y), dim=-1)
        with data, pyro.plate("inner", 5, dim=-2):
            pyro.sample("z", dist.Normal(0.0, 1.0))
        with data:
            pyro.sample("y", dist.Normal(0.0, 1.0), obs=y)

    def guide(self, y):
        with pyro.plate("data", len(y), dim=-1), pyro.plate("inner", 5, dim=-2):
            pyro.sample("z", dist.Normal(1.0, 1.0))


class Global(Scalar):
    def model(self, y):
        center = pyro.sample("center", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Normal(center, 1.0), obs=y)

    def guide(self, y):
        pyro.sample("center", dist.Normal(0.0, 1.0))


class StudentPrior(Scalar):
    def prior(self):
        return dist.StudentT(3.0)


SPLITS = {
    "inner plate": (InnerPlate(), "'z' stands in a plate of its own"),
    "global": (Global(), "no latent of a single datapoint"),
    "no closed form": (StudentPrior(), "has no closed form between Normal and StudentT"),
}


@pytest.mark.parametrize(("pair", "message"), SPLITS.values(), ids=SPLITS.keys())
def test_kl_that_has_no_dimensions_is_refused(pair, message):
    with pytest.raises(ValueError, match=message):
        diagnostics.kl_per_dimension(pair, Y)


def test_kl_per_dimension_sums_to_the_kl_whatever_learns():
    class Learned(nn.Module, Scalar):
        def __init__(self):
            super().__init__()
            self.loc = nn.Parameter(torch.tensor(0.7))

        def prior(self):
            return dist.Normal(self.loc, 1.0)

    pair = Learned()
    kl = diagnostics.kl_per_dimension(pair, Y, memory=1)
    assert float(kl.sum()) == pytest.approx(float(diagnostics.evidence(pair, Y).kl.mean()))


@pytest.mark.parametrize(
    "memory",
    [
        pytest.param(2**14, marks=pytest.mark.verify),
        pytest.param(2**18, marks=pytest.mark.slow),
        2**22,
    ],
)
def test_draws_stay_within_memory(memory):
    """What one chunk asks for at once, by the pair's own bytes per draw, is within the bound."""
    pair = LinearGaussian.random(0, features=30, latent=4).pair()
    x = torch.randn(300, 30).double()
    with isolated(pair, 0):
        sizes = [
            (len(chunk[0]), len(part.log_weights), structure.bytes_per_draw)
            for chunk, structure, parts in draw_chunks(pair, (x,), 500, memory)
            for part in parts
        ]
    assert sum(rows * draws for rows, draws, _ in sizes) == 300 * 500
    size = min(size for _, _, size in sizes)  # the last chunk is smaller, its overhead larger
    assert size >= 30 * 8
    assert all(rows * draws * size <= max(memory, size) for rows, draws, _ in sizes)
    assert max(rows * draws * size for rows, draws, _ in sizes) > memory / 4


def test_masks_that_differ_allow_no_closed_form():
    class MaskedPrior(Scalar):
        def prior(self):
            return dist.Normal(0.0, 1.0).mask(torch.tensor([True, False, True, False]))

    pair = MaskedPrior()
    evidence = diagnostics.evidence(pair, Y, draws=4000)
    closed = diagnostics.evidence(Scalar(), Y, draws=2)
    assert np.allclose(evidence.kl[[0, 2]], closed.kl[[0, 2]], atol=0.1)
    entropy = -dist.Normal(0.0, math.sqrt(0.5)).entropy()  # of a row whose prior is masked
    assert np.allclose(evidence.kl[[1, 3]], entropy, atol=0.1)


def test_marginalized_pair_of_the_contract_still_holds():
    pair, x = Marginalized(), torch.randn(6)
    evidence = diagnostics.evidence(pair, x, draws=3000)
    error = evidence.log_evidence_error
    exact = pair.log_evidence(x).numpy()
    assert bool((abs(evidence.log_evidence - exact) < 5 * error + 1e-4).all())
