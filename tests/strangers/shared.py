"""Latents that all rows share: mixtures, eight schools, baseball, a regression."""

import math

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from pyro.infer import TraceEnum_ELBO, config_enumerate
from pyro.infer.autoguide import AutoDelta, AutoDiagonalNormal, AutoNormal
from pyro.nn import PyroModule, PyroSample
from torch import nn
from torch.distributions import (
    HalfCauchy,
    MultivariateNormal,
    Normal,
    Pareto,
    constraints,
)

from tests.strangers.stranger import (
    ALL_SHARED,
    CHANGING,
    ONE_POINT,
    Programs,
    Stranger,
    exact,
    line,
    seeded_data,
)


def values(given, name):
    """Return the value of a latent that all rows share, a number where it is one."""
    return given[name].squeeze()


def two_heaps(seed=0):
    heaps = torch.randn(2, 10, generator=seeded_data(seed)) + torch.tensor([[-2.0], [2.0]])
    return heaps.flatten()


class ToyMixture:
    """Assignments enumerated in the model, locations drawn in the guide."""

    @config_enumerate
    def model(self, data):
        with pyro.plate("components", 2):
            locs = pyro.sample("locs", dist.Normal(torch.tensor([-2.0, 2.0]), 1.0))
        with pyro.plate("data", len(data)):
            k = pyro.sample("k", dist.Categorical(torch.tensor([0.4, 0.6])))
            pyro.sample("obs", dist.Normal(locs[k], 1.0), obs=data)

    def guide(self, data):
        loc = pyro.param("locs_loc", torch.tensor([-1.0, 1.0]))
        scale = pyro.param("locs_scale", torch.full((2,), 0.5), constraint=constraints.positive)
        with pyro.plate("components", 2):
            pyro.sample("locs", dist.Normal(loc, scale))


def of_toy(pair, batch, given):
    both = Normal(values(given, "locs"), 1.0).log_prob(batch[0][:, None])
    return exact(both + torch.tensor([0.4, 0.6]).log(), -1)


def joint_of_toy(pair, batch):
    nodes, step = line(-9.0, 9.0, 150)
    prior = Normal(torch.tensor([[-2.0], [2.0]]), 1.0).log_prob(nodes) + step
    seen = Normal(nodes, 1.0).log_prob(batch[0][:, None])  # (rows, nodes)
    first, second = seen[:, :, None] + math.log(0.4), seen[:, None, :] + math.log(0.6)
    total = torch.logaddexp(first, second).sum(0) + prior[0, :, None] + prior[1]
    return float(total.flatten().logsumexp(0))


Y = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
SIGMA = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


class EightSchools:
    """Not centred: eta of each school, mu and tau of all, and parameters of the guide a school."""

    def model(self, data):
        y, sigma = data[:, 0], data[:, 1]
        mu = pyro.sample("mu", dist.Normal(0.0, 10.0))
        tau = pyro.sample("tau", dist.HalfCauchy(25.0))
        with pyro.plate("schools", len(data)):
            eta = pyro.sample("eta", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(mu + tau * eta, sigma), obs=y)

    def guide(self, data):
        positive = constraints.positive
        mu_loc = pyro.param("mu_loc", torch.tensor(5.0))
        mu_scale = pyro.param("mu_scale", torch.tensor(4.0), constraint=positive)
        tau_loc = pyro.param("log_tau_loc", torch.tensor(1.0))
        tau_scale = pyro.param("log_tau_scale", torch.tensor(0.7), constraint=positive)
        eta_loc = pyro.param("eta_loc", torch.zeros(len(data)))
        eta_scale = pyro.param("eta_scale", torch.ones(len(data)), constraint=positive)
        pyro.sample("mu", dist.Normal(mu_loc, mu_scale))
        pyro.sample("tau", dist.LogNormal(tau_loc, tau_scale))
        with pyro.plate("schools", len(data)):
            pyro.sample("eta", dist.Normal(eta_loc, eta_scale))


def of_schools(pair, batch, given):
    y, sigma = batch[0].T
    scale = (sigma**2 + values(given, "tau") ** 2).sqrt()
    log_prob = Normal(values(given, "mu"), scale).log_prob(y)
    return log_prob, torch.zeros_like(log_prob)


def joint_of_schools(pair, batch):
    mu, step = line(-60.0, 60.0, 400)
    log_tau, log_step = line(-8.0, 9.0, 400)
    tau = log_tau.exp()
    prior = (
        Normal(0.0, 10.0).log_prob(mu)[:, None]
        + HalfCauchy(25.0).log_prob(tau)
        + log_tau
        + step
        + log_step
    )
    y, sigma = batch[0].T
    scale = (sigma[:, None, None] ** 2 + tau**2).sqrt()
    seen = Normal(mu[:, None], scale).log_prob(y[:, None, None]).sum(0)
    return float((prior + seen).flatten().logsumexp(0))


def baseball_model(at_bats, hits):
    m = pyro.sample("m", dist.Uniform(0.0, 1.0))
    kappa = pyro.sample("kappa", dist.Pareto(1.0, 1.5))
    with pyro.plate("num_players", len(at_bats)):
        phi = pyro.sample("phi", dist.Beta(m * kappa, (1 - m) * kappa))
        return pyro.sample("obs", dist.Binomial(at_bats, probs=phi), obs=hits)


AT_BATS = torch.tensor([45.0, 45, 45, 45, 40, 40])
HITS = torch.tensor([18.0, 15, 12, 10, 8, 11])


def of_players(pair, batch, given):
    at_bats, hits = batch
    m, kappa = values(given, "m"), values(given, "kappa")
    return beta_binomial(at_bats, hits, m * kappa, (1 - m) * kappa), torch.zeros(len(hits))


def beta_binomial(total, count, a, b):
    def log_beta(a, b):
        return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)

    choose = torch.lgamma(total + 1) - torch.lgamma(count + 1) - torch.lgamma(total - count + 1)
    return choose + log_beta(a + count, b + total - count) - log_beta(a, b)


def joint_of_players(pair, batch):
    at_bats, hits = (part.double() for part in batch)
    m, step = line(0.001, 0.999, 400)
    log_kappa, log_step = line(1e-6, 12.0, 400)
    m, kappa = m.double()[:, None], log_kappa.double().exp()
    prior = Pareto(torch.tensor(1.0), 1.5).log_prob(kappa.float()) + log_kappa
    seen = sum(
        beta_binomial(n, k, m * kappa, (1 - m) * kappa) for n, k in zip(at_bats, hits, strict=True)
    )
    return float((prior + seen + step + log_step).flatten().logsumexp(0))


class Regression(PyroModule):
    """A PyroModule with priors on its weights: every latent is global."""

    def __init__(self):
        super().__init__()
        self.linear = PyroModule[nn.Linear](2, 1)
        self.linear.weight = PyroSample(dist.Normal(0.0, 1.0).expand([1, 2]).to_event(2))
        self.linear.bias = PyroSample(dist.Normal(0.0, 2.0).expand([1]).to_event(1))

    def forward(self, x, y=None):
        sigma = pyro.sample("sigma", dist.Uniform(0.0, 5.0))
        mean = self.linear(x).squeeze(-1)
        with pyro.plate("data", x.shape[0]):
            pyro.sample("obs", dist.Normal(mean, sigma), obs=y)
        return mean


def regression():
    model = Regression()
    return Programs(model, AutoDiagonalNormal(model, init_scale=0.2))


def line_with_noise(rows=20, seed=0):
    generator = seeded_data(seed)
    x = torch.randn(rows, 2, generator=generator)
    y = x @ torch.tensor([1.0, -0.5]) + 0.3 + 0.8 * torch.randn(rows, generator=generator)
    return x, y


def of_line(pair, batch, given):
    x, y = batch
    mean = x @ values(given, "linear.weight").reshape(2) + values(given, "linear.bias").reshape(())
    log_prob = Normal(mean, values(given, "sigma")).log_prob(y)
    return log_prob, torch.zeros_like(log_prob)


def joint_of_line(pair, batch):
    x, y = (part.double() for part in batch)
    ones = torch.ones(len(y), len(y), dtype=torch.double)
    prior = x @ x.T + 4 * ones
    sigma, step = line(0.01, 4.99, 300)
    terms = [
        float(
            MultivariateNormal(
                torch.zeros(len(y), dtype=torch.double),
                prior + value.double() ** 2 * torch.eye(len(y), dtype=torch.double),
            ).log_prob(y)
        )
        for value in sigma
    ]
    return float(torch.tensor(terms).logsumexp(0) - math.log(5.0) + step)


@config_enumerate
def gmm_model(data):
    weights = pyro.sample("weights", dist.Dirichlet(0.5 * torch.ones(2)))
    scale = pyro.sample("scale", dist.LogNormal(0.0, 2.0))
    with pyro.plate("components", 2):
        locs = pyro.sample("locs", dist.Normal(0.0, 10.0))
    with pyro.plate("data", len(data)):
        assignment = pyro.sample("assignment", dist.Categorical(weights))
        pyro.sample("obs", dist.Normal(locs[assignment], scale), obs=data)


def started(site):
    """Start a mixture at a sensible place."""
    return {
        "weights": torch.tensor([0.5, 0.5]),
        "scale": torch.tensor(1.0),
        "locs": torch.tensor([-1.0, 1.0]),
    }[site["name"]]


def gmm(kind):
    exposed = poutine.block(gmm_model, expose=["weights", "locs", "scale"])
    return Programs(gmm_model, kind(exposed, init_loc_fn=started))


def of_gmm(pair, batch, given):
    both = Normal(values(given, "locs"), values(given, "scale")).log_prob(batch[0][:, None])
    return exact(both + values(given, "weights").log(), -1)


STRANGERS = (
    Stranger(
        "toy_mixture",
        ToyMixture,
        lambda: [(two_heaps(),)],
        objective=lambda: TraceEnum_ELBO(max_plate_nesting=1),
        log_evidence=of_toy,
        joint=joint_of_toy,
        shared=True,
        expected=dict.fromkeys(("diagnose", "active_units"), (ALL_SHARED,)),
    ),
    Stranger(
        "eight_schools",
        EightSchools,
        lambda: [(torch.stack([Y, SIGMA], -1),)],
        log_evidence=of_schools,
        joint=joint_of_schools,
        shared=True,
    ),
    Stranger(
        "baseball",
        lambda: Programs(baseball_model, AutoNormal(baseball_model, init_scale=0.2)),
        lambda: [(AT_BATS, HITS)],
        log_evidence=of_players,
        joint=joint_of_players,
        shared=True,
        expected={"diagnose": (CHANGING,)},
    ),
    Stranger(
        "bayesian_regression",
        regression,
        lambda: [line_with_noise()],
        log_evidence=of_line,
        joint=joint_of_line,
        shared=True,
        expected=dict.fromkeys(("diagnose", "active_units"), (ALL_SHARED,)),
    ),
    Stranger(
        "gmm_delta",
        lambda: gmm(AutoDelta),
        lambda: [(two_heaps(),)],
        objective=lambda: TraceEnum_ELBO(max_plate_nesting=1),
        log_evidence=of_gmm,
        shared=True,
        expected={"diagnose": (ONE_POINT, ALL_SHARED), "active_units": (ALL_SHARED,)},
    ),
    Stranger(
        "gmm_normal",
        lambda: gmm(AutoNormal),
        lambda: [(two_heaps(),)],
        objective=lambda: TraceEnum_ELBO(max_plate_nesting=1),
        log_evidence=of_gmm,
        shared=True,
        expected=dict.fromkeys(("diagnose", "active_units"), (ALL_SHARED,)),
    ),
)
