"""Throughput of two processes and of one, in turns: each process with one thread and equal rows.

    python -m benchmarks.scaling [--rounds 3] [--steps 150] [--rows 128] [--compile]

A convolutional pair on images of 28 x 28 pixels. Prints the images a second of each round, and
the ratio of the medians.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time

STARTED = 20  # steps that are not counted: the first ones, and the wait for code


def train(rows, steps, compile):
    """Train in one of the processes that `torchrun` started; the first prints images a second."""
    import torch

    import ppvae
    from ppvae import likelihoods, networks, posteriors, priors
    from ppvae.engine import Processes

    torch.set_num_threads(1)
    torch.manual_seed(0)
    processes = Processes.present()
    pair = ppvae.VAE(
        priors.StandardNormal(10),
        likelihoods.Bernoulli(networks.ConvDecoder(10, (1, 28, 28)), event_dim=3),
        posteriors.DiagonalNormal(networks.ConvEncoder((1, 28, 28), 20)),
    )
    batch, times = rows * processes.number, []

    def at_each_step(step):
        times.append(time.perf_counter())
        return 1.0

    # One pass, so that there is no evaluation between the steps.
    x = (torch.rand(batch * steps, 1, 28, 28) < 0.3).float()
    options = {"compile": compile, "compile_from": STARTED // 2 if compile else None}
    ppvae.fit(pair, x, epochs=1, batch_size=batch, kl_weight=at_each_step, **options)
    counted = itertools.pairwise(times[STARTED:])
    seconds = statistics.median(after - before for before, after in counted)
    if processes.first:
        print(json.dumps(batch / seconds))


def measured(processes, arguments):
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", "-m", "benchmarks.scaling", "--worker"]
    command += arguments
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return float(json.loads(done.stdout.splitlines()[-1]))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rows", type=int, default=128, help="of each process's part of a batch")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        train(chosen.rows, chosen.steps, chosen.compile)
        return
    arguments = ["--rows", str(chosen.rows), "--steps", str(chosen.steps)]
    arguments += ["--compile"] * chosen.compile
    rates = {1: [], 2: []}
    for _ in range(chosen.rounds):
        for processes, found in rates.items():
            found.append(measured(processes, arguments))
            print(f"{processes} process(es): {found[-1]:.0f} images a second", flush=True)
    one, two = map(statistics.median, rates.values())
    print(f"2 processes reach {two / one:.2f} times the throughput of 1")


if __name__ == "__main__":
    main()
