"""Steps of structured pairs: `fit`'s compiled ones against Pyro's own SVI on the same pair.

    python -m benchmarks.structured_steps [--rounds 9] [--steps 40] [NAME ...]

Both take turns in one process, on the digits in minibatches of 128. Prints the medians of a step
and of the ratios.
"""

import argparse
import copy
import statistics
import time
from dataclasses import replace

import pyro
import torch
from pyro.infer import SVI, Trace_ELBO, TraceEnum_ELBO

from benchmarks.variants import whole_steps
from ppvae import data, pairs

BATCH = 128


def with_gaps(dataset):
    """Return a dataset of which a third of the cells is missing."""
    seen = {
        part: (torch.rand(getattr(dataset, part).shape) > 1 / 3).float()
        for part in ("train", "validation", "test")
    }
    return replace(dataset, seen=seen)


def prepared(name):
    """Return a pair, all its rows, and the objective that Pyro's own SVI needs."""
    torch.manual_seed(0)
    digits = data.digits()
    kind = getattr(pairs, name)
    if name == "SemiSupervisedVAE":
        digits = replace(digits, labels={**digits.labels, "train": hidden(digits.labels["train"])})
    if name == "MissingDataVAE":
        digits = with_gaps(digits)
    enumerated = name in ("SemiSupervisedVAE", "MixtureVAE")
    objective = TraceEnum_ELBO(max_plate_nesting=1) if enumerated else Trace_ELBO()
    return kind.of(digits), kind.batches_of(digits).batch("train"), objective


def hidden(labels):
    """Return labels of which two thirds are not known."""
    return torch.where(torch.rand(len(labels)) < 1 / 3, labels, -torch.ones_like(labels))


def indices(rows):
    """Yield the rows of minibatches."""
    while True:
        yield from torch.randperm(rows).split(BATCH)[: rows // BATCH]


def seconds(run, steps):
    """Return the time of a step."""
    started = time.perf_counter()
    run(steps)
    return (time.perf_counter() - started) / steps


def measure(name, rounds, steps):
    """Return the seconds of a step of Pyro's and of ours, in rounds."""
    pair, tensors, objective = prepared(name)
    again = copy.deepcopy(pair)
    drawn = indices(len(tensors[0]))
    svi = SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 1e-3}), objective)

    def by_pyro(count):
        for _ in range(count):
            index = next(drawn)
            svi.step(*(tensor[index] for tensor in tensors))

    compiled, ours = whole_steps(again, tensors, drawn, BATCH, compile_from=2)
    ours(4)
    if compiled.compiled_from != 2:
        print(f"{name}: {compiled.report}")
    by_pyro(3)
    return [(seconds(by_pyro, steps), seconds(ours, steps)) for _ in range(rounds)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=40)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    structured = [
        name
        for name in pairs.__all__
        if isinstance(kind := getattr(pairs, name), type)
        and issubclass(kind, pairs.ProgramPair)
        and "of" in vars(kind)
        and kind is not pairs.ProgramPair
    ]
    for name in chosen.names or structured:
        found = measure(name, chosen.rounds, chosen.steps)
        before, after = (statistics.median(column) for column in zip(*found, strict=True))
        ratio = statistics.median(ours / theirs for theirs, ours in found)
        print(
            f"{name}: Pyro {1e3 * before:.2f} ms, compiled {1e3 * after:.2f} ms, "
            f"ratio {ratio:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
