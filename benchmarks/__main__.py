"""`make bench`: time per training step, compared with the alternatives a user has.

Each variant of a case runs in a process of its own; rounds of all variants take turns. The table
shows the median time of a step, the median ratio to PyTorch by hand in the same round with its
quartiles, the seconds until the process was ready, and its peak memory.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

import pyro
import torch
from matplotlib.figure import Figure

from benchmarks.cases import CASES, GROWTH
from benchmarks.cold import cold
from benchmarks.draws import draws, growth
from benchmarks.variants import variants_of

GROWING = ["PyTorch by hand, fused Adam", "NumPyro, jitted scan", "ppvae, whole step (fit)"]
FIGURE = Path(__file__).parent / "steps.png"


class Worker:
    """A process that runs steps when asked."""

    def __init__(self, case, variant):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", case, variant],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.ready = self.failure = None
        self.peak = 0
        for line in self.process.stdout:
            if line.startswith("ready"):
                self.ready = float(line.split()[1])
                return
        self.failure = (self.process.stderr.read().strip().splitlines() or ["?"])[-1]

    def seconds(self, steps):
        print(steps, file=self.process.stdin, flush=True)
        taken, peak = self.process.stdout.readline().split()
        self.peak = int(peak) / 2**10
        return float(taken) / steps

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def measure(name, case, variants, rounds):
    """Return the ratios of a case by variant, and print them."""
    workers = {variant: Worker(name, variant) for variant in variants}
    running = {variant: worker for variant, worker in workers.items() if worker.ready}
    taken = {variant: [] for variant in running}
    for _ in range(rounds):
        for variant, worker in running.items():
            taken[variant].append(worker.seconds(case.steps))
    base = next(iter(taken.values()))
    print(f"\n{name}\n\n| | ms | ratio | quartiles | ready, s | MiB |\n|---|---|---|---|---|---|")
    shown = {}
    for variant, worker in workers.items():
        if worker.failure:
            print(f"| {variant} | failed: {worker.failure[:80]} |")
            continue
        ratios = sorted(a / b for a, b in zip(taken[variant], base, strict=True))
        quarter = len(ratios) // 4
        shown[variant] = statistics.median(ratios)
        print(
            f"| {variant} | {1e3 * statistics.median(taken[variant]):.3f} | {shown[variant]:.2f} "
            f"| {ratios[quarter]:.2f}-{ratios[-1 - quarter]:.2f} | {worker.ready:.1f} "
            f"| {worker.peak:.0f} |",
            flush=True,
        )
        worker.end()
    return shown


def draw(measured):
    """Draw the ratios of all cases."""
    figure = Figure(figsize=(8, 0.4 + 1.7 * len(measured)), layout="constrained")
    axes = figure.subplots(len(measured), 1, squeeze=False)[:, 0]
    for ax, (name, ratios) in zip(axes, measured.items(), strict=True):
        names = list(ratios)[::-1]
        own = ["0.25" if label.startswith("ppvae") else "0.7" for label in names]
        bars = ax.barh(names, [ratios[label] for label in names], color=own)
        ax.bar_label(bars, fmt="%.2f", fontsize=6, padding=2)
        ax.axvline(1, color="black", linewidth=0.8)
        ax.margins(x=0.08)
        ax.tick_params(labelsize=6)
        ax.set_title(name, fontsize=8, loc="left")
    axes[-1].set_xlabel("time of a step relative to PyTorch by hand (dark: ppvae)", fontsize=8)
    figure.savefig(FIGURE, dpi=130)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help="parts of the cases' names; all unless given")
    parser.add_argument("--rounds", type=int, default=9)
    chosen = parser.parse_args()
    print(f"torch {torch.__version__}, pyro {pyro.__version__}, {torch.get_num_threads()} threads")
    names = [n for n in CASES if not chosen.cases or any(part in n for part in chosen.cases)]
    draw({n: measure(n, CASES[n], variants_of(CASES[n]), chosen.rounds) for n in names})
    if not chosen.cases:
        for name, case in GROWTH.items():
            measure(name, case, GROWING, chosen.rounds)
        cold()
        growth(784, [400], 20, rows=100, counts=(100, 1000, 10_000, 100_000))
        draws(784, [200], 50, rows=200, count=1000)
        draws(64, [256], 10, rows=200, count=1000)
        draws(784, [200, 200], 50, rows=1000, count=5000, rounds=3)


if __name__ == "__main__":
    main()
