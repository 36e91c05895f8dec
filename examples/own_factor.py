"""A likelihood of your own: angles, which are periodic."""

import math
import sys
from collections.abc import Callable

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn.functional import softplus

import ppvae
from ppvae import data, diagnostics, likelihoods, networks, posteriors, priors


class VonMises(likelihoods.Likelihood):
    """p(x_i | z) is proportional to exp(c_i cos(x_i - loc_i)): the network gives loc and raw c."""

    support = constraints.interval(-math.pi, math.pi)
    outputs_per_feature = 2

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(x|z)."""
        loc, raw = self.outputs(*conditions)
        concentration = softplus(raw) + 1e-3  # at exactly 0 its gradient is NaN
        return dist.VonMises(loc, concentration).to_event(self.event_dim)


def winds(rows: int, stations: int = 6) -> Tensor:
    """Draw one wind direction per day, and each station's deviation from it."""
    random = torch.Generator().manual_seed(0)
    daily = 2 * math.pi * torch.rand(rows, 1, generator=random)
    local = 0.3 * torch.randn(rows, stations, generator=random)
    return torch.remainder(daily + local, 2 * math.pi) - math.pi


def build(likelihood: Callable[[nn.Module], likelihoods.Likelihood], stations: int) -> ppvae.VAE:
    """Return the pair with the given likelihood."""
    return ppvae.VAE(
        prior=priors.StandardNormal(2),
        likelihood=likelihood(networks.MLP(2, 2 * stations)),
        posterior=posteriors.DiagonalNormal(networks.MLP(stations, 4)),
    )


def main(epochs: int = 50, draws: int = 1000) -> dict[str, ppvae.VAE]:
    """Fit angles as angles and as numbers; print formula (2) on held-out days; return both."""
    trained = {}
    days = data.split("winds", winds(2000), VonMises.support)
    for likelihood in (VonMises, likelihoods.Normal):
        torch.manual_seed(0)
        pair = build(likelihood, *days.event_shape)
        ppvae.fit(pair, days, epochs=epochs)
        evidence = diagnostics.evidence(pair, days.test, draws=draws)
        print(likelihood.__name__)
        print(diagnostics.summarize(evidence).to_dataframe().round(3))
        trained[likelihood.__name__] = pair
    return trained


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
