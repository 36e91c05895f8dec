"""Learn a discrete latent in five ways, and compare the noise of the gradients."""

from collections.abc import Callable
from typing import ClassVar

import pandas as pd
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import ELBO, Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO, config_enumerate
from torch import nn

import ppvae
from ppvae.inference import ImportanceWeighted_ELBO

CLUSTERS, BATCH = 5, 100


class Clusters(nn.Module):
    """A point of the plane belongs to one of five clusters; the guide says which."""

    infer: ClassVar[dict[str, object]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.centers = nn.Parameter(2 * torch.randn(CLUSTERS, 2))
        self.encoder = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, CLUSTERS))

    def model(self, x: torch.Tensor) -> None:
        """Draw a cluster, one-hot, and a point near its center."""
        pyro.module("clusters", self)
        with pyro.plate("data", len(x)):
            cluster = pyro.sample("cluster", dist.OneHotCategorical(x.new_ones(CLUSTERS)))
            pyro.sample("x", dist.Normal(cluster @ self.centers, 0.5).to_event(1), obs=x)

    def choice(self, x: torch.Tensor) -> dist.Distribution:
        """Return q(cluster | x)."""
        return dist.OneHotCategorical(logits=self.encoder(x))

    def guide(self, x: torch.Tensor) -> None:
        """Choose a cluster."""
        pyro.module("clusters", self)
        with pyro.plate("data", len(x)):
            pyro.sample("cluster", self.choice(x), infer=self.infer)


class Enumerated(Clusters):
    """Sums over all clusters, weighted by their probability."""

    guide = config_enumerate(Clusters.guide)


class Averaged(Clusters):
    """The score function, with a running mean as baseline."""

    infer: ClassVar[dict[str, object]] = {
        "baseline": {"use_decaying_avg_baseline": True, "baseline_beta": 0.9}
    }


class Relaxed(Clusters):
    """One-hot draws, with the gradient of a continuous relaxation."""

    def choice(self, x: torch.Tensor) -> dist.Distribution:
        """Return q(cluster | x) with a gradient through its draws, which is biased."""
        return dist.RelaxedOneHotCategoricalStraightThrough(
            torch.tensor(0.5),
            logits=self.encoder(x),
            validate_args=False,  # draws sum to 1 up to rounding, which the check does not allow
        )


WAYS: dict[str, tuple[type[Clusters], Callable[[], ELBO]]] = {
    "enumeration": (Enumerated, lambda: TraceEnum_ELBO(max_plate_nesting=1)),
    "score function": (Clusters, Trace_ELBO),
    "score function, running mean as baseline": (Averaged, TraceGraph_ELBO),
    "score function, other 7 draws as baseline": (
        Clusters,
        lambda: ImportanceWeighted_ELBO(8),
    ),
    "relaxation, straight through": (Relaxed, Trace_ELBO),
}


def gradients(pair: Clusters, objective: ELBO, x: torch.Tensor, repeats: int) -> torch.Tensor:
    """Return gradients of the encoder in nats per datapoint, `(repeat, weight)`."""
    found = []
    for _ in range(repeats):
        pair.zero_grad()
        objective.loss_and_grads(pair.model, pair.guide, x)
        weights = [weight.grad.flatten() for weight in pair.encoder.parameters()]
        found.append(torch.cat(weights) / len(x))
    return torch.stack(found)


def scores(pair: Clusters, x: torch.Tensor) -> tuple[float, float]:
    """Return log P(X) and the ELBO in nats per datapoint, summed over all clusters."""
    with torch.no_grad():
        likelihood = dist.Normal(pair.centers, 0.5).log_prob(x.unsqueeze(1)).sum(-1)
        log_joint = likelihood - torch.tensor(float(CLUSTERS)).log()
        log_q = pair.encoder(x).log_softmax(-1)
        elbo = (log_q.exp() * (log_joint - log_q)).sum(-1)
        return float(log_joint.logsumexp(-1).mean()), float(elbo.mean())


def main(epochs: int = 20, repeats: int = 100) -> None:
    """Train the same pair in each way; print its log P(X), ELBO and variance of the gradient."""
    torch.manual_seed(0)
    centers = torch.randn(CLUSTERS, 2).mul(2.5)[torch.randint(CLUSTERS, (2000,))]
    x = centers + 0.5 * torch.randn(2000, 2)
    start = Clusters().state_dict()
    rows = []
    for name, (kind, make) in WAYS.items():
        pair = kind()
        pair.load_state_dict(start)
        noise = gradients(pair, make(), x[:BATCH], repeats).var(0).sum()
        ppvae.fit(pair, x, epochs=epochs, batch_size=BATCH, objective=make(), seed=1)
        log_evidence, elbo = scores(pair, x)
        row = {"gradient by": name, "variance at the start": float(noise)}
        rows.append({**row, "log P(X)": log_evidence, "ELBO": elbo})
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.4g}".format))


if __name__ == "__main__":
    main()
