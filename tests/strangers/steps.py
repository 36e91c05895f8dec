"""Pyro's air: objects that are there or not, step by step."""

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import TraceGraph_ELBO
from torch import nn
from torch.distributions import Normal

from tests.strangers.stranger import MASKED, Stranger, reals, sampled

STEPS, PIXELS, PRESENT, NOISE = 2, 4, 0.4, 0.7


class AIR(nn.Module):
    """Bernoulli latents that mask what follows, with a baseline a step; reads rows by index."""

    def __init__(self):
        super().__init__()
        self.decode = nn.Linear(1, PIXELS)
        self.rnn = nn.GRUCell(PIXELS + 3, 5)
        self.predict = nn.Linear(5, 3)
        self.encode = nn.Linear(PIXELS, 2)
        self.bl_predict = nn.Linear(5, 1)

    def drawn(self, z_where, z_what):
        return torch.exp(0.3 * z_where) * self.decode(z_what)

    def model(self, data):
        pyro.module("decode", self.decode)
        with pyro.plate("data", data.size(0)) as ix:
            batch = data[ix]
            n = batch.size(0)
            x, z_pres = torch.zeros(n, PIXELS), torch.ones(n, 1)
            for t in range(STEPS):
                z_pres = pyro.sample(f"z_pres_{t}", dist.Bernoulli(PRESENT * z_pres).to_event(1))
                z_where = pyro.sample(
                    f"z_where_{t}",
                    dist.Normal(torch.zeros(n, 1), torch.ones(n, 1)).mask(z_pres).to_event(1),
                )
                z_what = pyro.sample(
                    f"z_what_{t}",
                    dist.Normal(torch.zeros(n, 1), torch.ones(n, 1)).mask(z_pres).to_event(1),
                )
                y = self.drawn(z_where, z_what)
                assert y.shape == (n, PIXELS), f"expected {n} images, got {tuple(y.shape)}"
                x = x + y * z_pres.view(-1, 1)
            pyro.sample(
                "obs",
                dist.Normal(x.view(n, -1), NOISE * torch.ones(n, PIXELS)).to_event(1),
                obs=batch.view(n, -1),
            )

    def guide(self, data):
        pyro.module("rnn", self.rnn)
        pyro.module("predict", self.predict)
        pyro.module("encode", self.encode)
        pyro.module("bl_predict", self.bl_predict)
        with pyro.plate("data", data.size(0)) as ix:
            batch = data[ix]
            n = batch.size(0)
            flat = batch.view(n, -1)
            h = torch.zeros(n, 5)
            z_pres, z_where, z_what = torch.ones(n, 1), torch.zeros(n, 1), torch.zeros(n, 1)
            for t in range(STEPS):
                h = self.rnn(torch.cat((flat, z_where, z_what, z_pres), 1), h)
                p, loc, log_scale = self.predict(h).split(1, -1)
                baseline = self.bl_predict(h.detach()).view(-1)
                z_pres = pyro.sample(
                    f"z_pres_{t}",
                    dist.Bernoulli(
                        0.05 + 0.9 * p.sigmoid() * z_pres - 0.05 * (1 - z_pres)
                    ).to_event(1),
                    infer={"baseline": {"baseline_value": baseline}},
                )
                z_where = pyro.sample(
                    f"z_where_{t}",
                    dist.Normal(loc, (0.3 * log_scale).exp()).mask(z_pres).to_event(1),
                )
                what_loc, what_scale = self.encode(flat).split(1, -1)
                z_what = pyro.sample(
                    f"z_what_{t}",
                    dist.Normal(what_loc, (0.3 * what_scale).exp()).mask(z_pres).to_event(1),
                )


def of_objects(pair, batch, given=None):
    """Sum over the number of objects; average over draws of what they are from the prior."""
    draws = 40_000
    z = torch.randn(2, STEPS, draws, 1)
    objects = [pair.drawn(z[0, t], z[1, t]) for t in range(STEPS)]
    weights = [1 - PRESENT, PRESENT * (1 - PRESENT), PRESENT**2]
    terms = []
    for count, weight in enumerate(weights):
        loc = sum(objects[:count], torch.zeros(draws, PIXELS))[:, None]
        seen = Normal(loc, NOISE).log_prob(batch[0]).sum(-1)
        terms.append(seen + torch.tensor(weight).log())
    return sampled(torch.stack(terms).logsumexp(0))


STRANGERS = (
    Stranger(
        "air",
        AIR,
        lambda: [(reals(10, PIXELS, seed=seed),) for seed in range(2)],
        objective=TraceGraph_ELBO,
        log_evidence=of_objects,
        draws=200,
        expected={"diagnose": (MASKED,)},
    ),
)
