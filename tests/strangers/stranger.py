"""What the table needs to know of a program, and sums and integrals for its evidence."""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from pyro.infer import ELBO, Trace_ELBO
from torch.distributions import Normal

# What mathematics lacks, as refusals say it.
CHANGING = "so one datapoint's draws cannot be scored at another"
ONE_POINT = "the guide gives a single point (Delta), which has no density"
PICKED = "takes some of its rows"
SUMMED = "is a mixture over a site that is summed out"
BELOW = "depends on a site that is summed out"
NO_INVERSE = "has no inverse"
MASKED = "so the posteriors of two datapoints are not over the same latents"
NO_LATENT = "a pair needs a latent site in model and guide"
ALL_SHARED = "all latents are shared by all datapoints, or summed out"


class Programs:
    """A model and a guide that are no methods of one object."""

    def __init__(self, model, guide):
        self.model = model
        self.guide = guide


@dataclass(frozen=True)
class Stranger:
    """A program, its data and what is known of it.

    Args:
        name: of the program.
        build: makes the pair, with weights by the seed of the moment.
        batches: what a loop of Pyro gives `svi.step`, one after the other: tuples of positional
            arguments, or dicts of keywords.
        objective: makes what SVI minimizes.
        log_evidence: log P(x) of each row of the first batch, and its error, for a pair, a batch
            and the values of the latents that all rows share.
        joint: log P(X) of a batch as a whole, where rows share latents.
        rows: the datapoints that the loss of a batch is a sum over.
        draws: of the evidence.
        steps: of the training before diagnostics.
        adapted: attributes of the pair, such as `data_dim`.
        shared: whether rows share latents.
        alike: whether `fit` and SVI's own loop draw the same numbers.
        same_bound: whether the loss is the negative of log p(x, z) - log q(z), in expectation.
        evaluated: the batch of diagnostics, where it is not the first.
        expected: by column, what each sentence of a refusal says; nothing where it works.
    """

    name: str
    build: Callable[[], Any]
    batches: Callable[[], list[Any]]
    objective: Callable[[], ELBO] = Trace_ELBO
    log_evidence: Callable[..., tuple[torch.Tensor, torch.Tensor]] | None = None
    joint: Callable[..., float] | None = None
    rows: Callable[[Any], float] = lambda batch: len(first(batch))
    draws: int = 500
    steps: int = 150
    adapted: Mapping[str, Any] = field(default_factory=dict)
    shared: bool = False
    alike: bool = True
    same_bound: bool = True
    evaluated: Callable[[], Any] | None = None
    expected: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def subject(self):
        """Return the batch that diagnostics look at."""
        return self.batches()[0] if self.evaluated is None else self.evaluated()


def first(batch):
    """Return the first value of a batch."""
    return next(iter(batch.values())) if isinstance(batch, dict) else batch[0]


def seeded_data(seed=0):
    """Return a generator for data."""
    return torch.Generator().manual_seed(seed)


def bits(*shape, seed=0):
    """Return seeded zeros and ones, the rows of two kinds."""
    generator = seeded_data(seed)
    kinds = torch.rand(shape[0], 1, generator=generator) < 0.5
    levels = torch.where(kinds, torch.tensor(0.25), torch.tensor(0.75))
    return (
        (torch.rand(shape[0], math.prod(shape[1:]), generator=generator) < levels)
        .float()
        .view(shape)
    )


def reals(*shape, seed=0):
    """Return seeded draws of a normal distribution, correlated within a row."""
    generator = seeded_data(seed)
    common = torch.randn(shape[0], *([1] * (len(shape) - 1)), generator=generator)
    return 0.7 * common + 0.7 * torch.randn(*shape, generator=generator)


def counts(*shape, seed=0, rate=3.0):
    """Return seeded counts, every row with its own rate, none of them all zeros."""
    generator = seeded_data(seed)
    rates = rate * (0.5 + torch.rand(shape[0], 1, generator=generator))
    drawn = torch.poisson(rates.expand(shape[0], math.prod(shape[1:])), generator=generator)
    drawn[:, 0] += 1
    return drawn.view(shape)


def one_hot(rows, classes, seed=0):
    """Return seeded labels, one-hot."""
    labels = torch.randint(classes, (rows,), generator=seeded_data(seed))
    return torch.nn.functional.one_hot(labels, classes).float()


def grid(dimensions, points=81, end=6.0):
    """Return nodes (count, dimensions) and log weights of an integral over standard normals."""
    line = torch.linspace(-end, end, points)
    nodes = torch.cartesian_prod(*[line] * dimensions).reshape(-1, dimensions)
    step = 2 * end / (points - 1)
    return nodes, Normal(0.0, 1.0).log_prob(nodes).sum(-1) + dimensions * math.log(step)


def line(low, high, points=200):
    """Return nodes (points,) between two ends, and the log of their distance."""
    return torch.linspace(low, high, points), math.log((high - low) / (points - 1))


def exact(log_terms, dim=0):
    """Return the log of a sum over nodes, without an error."""
    total = torch.logsumexp(log_terms, dim)
    return total, torch.zeros_like(total)


def sampled(log_weights, dim=0):
    """Return the log of the mean over draws, and its standard error by the delta method."""
    draws = log_weights.shape[dim]
    value = torch.logsumexp(log_weights, dim) - math.log(draws)
    ratios = (log_weights - value.unsqueeze(dim)).exp()
    return value, ratios.std(dim) / math.sqrt(draws)


def labels_of(count):
    """Return all one-hot labels."""
    return torch.eye(count)


def paths(states, times):
    """Return all paths through some states, (paths, times)."""
    return torch.tensor(list(itertools.product(range(states), repeat=times)))
