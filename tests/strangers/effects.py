"""Causal effects: Pyro's CEVAE."""

import pyro
import pyro.distributions as dist
import torch
from pyro.contrib.cevae import TraceCausalEffect_ELBO
from torch import nn
from torch.distributions import Bernoulli, Normal

from tests.strangers.stranger import Stranger, exact, grid, reals, seeded_data

FEATURES, LATENTS, ROWS = 3, 2, 10


class CEVAE(nn.Module):
    """A plate of all rows with the batch as its subsample; treatment and outcome in the guide."""

    def __init__(self):
        super().__init__()
        self.x_net = nn.Linear(LATENTS, FEATURES)
        self.t_net = nn.Linear(LATENTS, 1)
        self.y_nets = nn.ModuleList(nn.Linear(LATENTS, 1) for _ in range(2))
        self.t_of_x = nn.Linear(FEATURES, 1)
        self.y_of_x = nn.ModuleList(nn.Linear(FEATURES, 1) for _ in range(2))
        self.z_of_x = nn.ModuleList(nn.Linear(1 + FEATURES, 2 * LATENTS) for _ in range(2))

    def model(self, x, t=None, y=None, size=None):
        pyro.module("cevae", self)
        if size is None:
            size = x.size(0)
        with pyro.plate("data", size, subsample=x):
            z = pyro.sample("z", dist.Normal(0, 1).expand([LATENTS]).to_event(1))
            pyro.sample("x", dist.Normal(self.x_net(z), 1.0).to_event(1), obs=x)
            t = pyro.sample("t", dist.Bernoulli(logits=self.t_net(z).squeeze(-1)), obs=t)
            y = pyro.sample("y", self.y_dist(t, z), obs=y)
        return y

    def y_dist(self, t, z):
        both = [net(z).squeeze(-1) for net in self.y_nets]
        return dist.Normal(torch.where(t.bool(), both[1], both[0]), 1.0)

    def guide(self, x, t=None, y=None, size=None):
        pyro.module("cevae", self)
        if size is None:
            size = x.size(0)
        with pyro.plate("data", size, subsample=x):
            t = pyro.sample(
                "t",
                dist.Bernoulli(logits=self.t_of_x(x).squeeze(-1)),
                obs=t,
                infer={"is_auxiliary": True},
            )
            both = [net(x).squeeze(-1) for net in self.y_of_x]
            y = pyro.sample(
                "y",
                dist.Normal(torch.where(t.bool(), both[1], both[0]), 1.0),
                obs=y,
                infer={"is_auxiliary": True},
            )
            y_x = torch.cat([y.unsqueeze(-1), x], dim=-1)
            params = torch.where(t.bool()[..., None], self.z_of_x[1](y_x), self.z_of_x[0](y_x))
            loc, log_scale = params.chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, (0.3 * log_scale).exp()).to_event(1))


def of_patients(pair, batch, given=None):
    x, t, y = (batch["x"], batch["t"], batch["y"]) if isinstance(batch, dict) else batch[:3]
    nodes, weights = grid(LATENTS, points=121, end=8.0)
    z = nodes[:, None]
    seen = (
        Normal(pair.x_net(z), 1.0).log_prob(x).sum(-1)
        + Bernoulli(logits=pair.t_net(z).squeeze(-1)).log_prob(t)
        + Normal(
            torch.where(t.bool(), pair.y_nets[1](z)[..., 0], pair.y_nets[0](z)[..., 0]), 1.0
        ).log_prob(y)
    )
    return exact(weights[:, None] + seen)


def patients(seed=0):
    x = reals(ROWS, FEATURES, seed=seed)
    t = (torch.rand(ROWS, generator=seeded_data(seed)) < 0.5).float()
    return x, t, x.sum(-1) * 0.3 + t


STRANGERS = (
    Stranger(
        "cevae",
        CEVAE,
        lambda: [patients(seed) for seed in range(2)],
        objective=TraceCausalEffect_ELBO,
        log_evidence=of_patients,
        same_bound=False,
    ),
    Stranger(
        "cevae_sized",
        CEVAE,
        lambda: [
            {**dict(zip("xty", patients(seed), strict=True)), "size": 2 * ROWS}
            for seed in range(2)
        ],
        objective=TraceCausalEffect_ELBO,
        log_evidence=of_patients,
        same_bound=False,
        rows=lambda batch: 2 * ROWS,
    ),
)
