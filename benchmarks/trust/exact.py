"""A pair, data simulated from its model, and what is right for each datapoint."""

from dataclasses import dataclass

import pyro
import torch
from torch import Tensor


@dataclass(frozen=True)
class Right:
    """What is right, in double precision.

    Args:
        log_evidence: log P(X) in nats, `(data,)`.
        means: posterior means by latent site, `(data, values)`; the values of a site are those of
            its inner plates and its event, in one row.
        sds: posterior standard deviations, the same.
    """

    log_evidence: Tensor
    means: dict[str, Tensor]
    sds: dict[str, Tensor]


@dataclass(frozen=True)
class Exact:
    """A pair with data of which all is known."""

    pair: object
    x: Tensor
    right: Right


class Pair:
    """A model and a guide; `shape` is that of one datapoint."""

    shape = ()

    def exact(self, rows, seed):
        """Return the pair, so many datapoints of its model, and what is right for them."""
        x = self.simulated(rows, seed)["x"]
        return Exact(self, x, self.right(x.double()))

    def simulated(self, rows, seed):
        """Draw all sites of the model, by name."""
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            free = pyro.poutine.uncondition(self.model)
            trace = pyro.poutine.trace(free).get_trace(torch.zeros(rows, *self.shape))
        return {name: trace.nodes[name]["value"] for name in trace.stochastic_nodes}


def generator(seed):
    return torch.Generator().manual_seed(seed)


def regression(design, targets, ridge=1e-3):
    """Return coefficients and residual standard deviations of a linear regression.

    A guide made of it errs as an amortized one does: it is right on average over the model's data,
    and wrong for each datapoint.
    """
    design, targets = design.double(), targets.double()
    gram = design.T @ design + ridge * torch.eye(design.shape[1]).double()
    coefficients = torch.linalg.solve(gram, design.T @ targets)
    residual = targets - design @ coefficients
    return coefficients.float(), residual.square().mean(0).sqrt().float()


def powers(x):
    """Return 1, x and x^2 as the columns of a design."""
    return torch.cat([torch.ones_like(x[..., :1]), x, x.square()], -1)
