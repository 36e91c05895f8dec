"""Sequences: a step of `DeepMarkovModel` against the program of Pyro's tutorial on such models.

    python -m benchmarks.sequences [--rounds 5] [--steps 4] [--batch 20] [--length 129]

Sizes are those of the tutorial: 88 features, 0 or 1, states of 100, networks of 100, 200 and 600
units, one thread. Both take turns in one process. Prints the medians of a step and of the ratios.
"""

import argparse
import statistics
import time

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import nn

from benchmarks.variants import whole_steps
from ppvae import likelihoods, networks, pairs, posteriors, priors

FEATURES, LATENT, EMISSION, TRANSITION, RECURRENT = 88, 100, 100, 200, 600
ROWS = 200


class Combiner(nn.Module):
    """What Pyro's tutorial makes of a state and of what is still to be seen."""

    def __init__(self):
        super().__init__()
        self.state = nn.Linear(LATENT, RECURRENT)
        self.outputs = nn.Linear(RECURRENT, 2 * LATENT)

    def forward(self, z, h):
        return self.outputs((self.state(z).tanh() + h) / 2)


class StepByStep(nn.Module):
    """A deep Markov model as Pyro's tutorial writes it: two sites a step, in a loop over time."""

    def __init__(self):
        super().__init__()
        self.emission = networks.MLP(LATENT, FEATURES, hidden=(EMISSION, EMISSION))
        self.transition = networks.GatedTransition(LATENT, TRANSITION)
        self.recurrent = nn.GRU(FEATURES, RECURRENT, batch_first=True)
        self.combiner = Combiner()
        self.start, self.guide_start = (nn.Parameter(torch.zeros(LATENT)) for _ in range(2))
        self.last = nn.Parameter(torch.zeros(1, 1, RECURRENT))

    def model(self, x, length):
        pyro.module("model", self)
        seen = (torch.arange(x.shape[1]) < length[:, None]).float()
        z = self.start
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                there = seen[:, t : t + 1]
                loc, raw = self.transition(z).chunk(2, -1)
                scale = nn.functional.softplus(raw)
                z = pyro.sample(f"z_{t}", dist.Normal(loc, scale).mask(there).to_event(1))
                emitted = dist.Bernoulli(logits=self.emission(z)).mask(there).to_event(1)
                pyro.sample(f"x_{t}", emitted, obs=x[:, t])

    def guide(self, x, length):
        pyro.module("model", self)
        seen = (torch.arange(x.shape[1]) < length[:, None]).float()
        backwards = reversed_in_time(x, length)
        packed = nn.utils.rnn.pack_padded_sequence(
            backwards, length, batch_first=True, enforce_sorted=False
        )
        last = self.last.expand(1, len(x), RECURRENT).contiguous()
        states = self.recurrent(packed, last)[0]
        padded = nn.utils.rnn.pad_packed_sequence(
            states, batch_first=True, total_length=x.shape[1]
        )[0]
        h = reversed_in_time(padded, length)
        z = self.guide_start
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                loc, raw = self.combiner(z, h[:, t]).chunk(2, -1)
                normal = dist.Normal(loc, nn.functional.softplus(raw))
                z = pyro.sample(f"z_{t}", normal.mask(seen[:, t : t + 1]).to_event(1))


def reversed_in_time(x, length):
    """Return sequences backwards, the padding where it was."""
    turned = x.clone()
    for row, count in enumerate(length.tolist()):
        turned[row, :count] = x[row, :count].flip(0)
    return turned


def ours(steps):
    """Return our pair of the same sizes."""
    emission = networks.MLP(LATENT, FEATURES, hidden=(EMISSION, EMISSION))
    transition = networks.GatedTransition(LATENT, TRANSITION)
    guide = posteriors.Markov(
        networks.BackwardGRU((steps, FEATURES), RECURRENT), Combiner(), LATENT
    )
    return pairs.DeepMarkovModel(
        priors.Markov(transition, LATENT, steps),
        likelihoods.EachStep(likelihoods.Bernoulli(emission)),
        guide,
    )


def rows(steps):
    """Return sequences of 0 and 1, half to all of the steps long, and their lengths."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(ROWS, steps, FEATURES, generator=generator) < 0.1).float()
    return x, torch.randint(steps // 2, steps + 1, (ROWS,), generator=generator)


def indices(batch):
    """Yield the rows of minibatches."""
    while True:
        yield from torch.randperm(ROWS).split(batch)[: ROWS // batch]


def seconds(run, steps):
    """Return the time of a step."""
    started = time.perf_counter()
    run(steps)
    return (time.perf_counter() - started) / steps


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--length", type=int, default=129)
    parser.add_argument("--uncompiled", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tensors, drawn = rows(chosen.length), indices(chosen.batch)
    program = StepByStep()
    svi = SVI(program.model, program.guide, pyro.optim.ClippedAdam({"lr": 3e-4}), Trace_ELBO())

    def by_pyro(count):
        for _ in range(count):
            index = next(drawn)
            svi.step(*(tensor[index] for tensor in tensors))

    started = time.perf_counter()
    from_step = 10**9 if chosen.uncompiled else 2
    steps, by_fit = whole_steps(
        ours(chosen.length), tensors, drawn, chosen.batch, compile_from=from_step
    )
    by_fit(4)
    print(f"compiled from step {steps.compiled_from}, {time.perf_counter() - started:.0f} s")
    by_pyro(1)
    found = [
        (seconds(by_pyro, chosen.steps), seconds(by_fit, chosen.steps))
        for _ in range(chosen.rounds)
    ]
    before, after = (statistics.median(column) for column in zip(*found, strict=True))
    ratio = statistics.median(one / other for other, one in found)
    print(f"Pyro {1e3 * before:.1f} ms, ours {1e3 * after:.1f} ms, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
