"""Annealing and gaps, this version beside another, in turns.

    python -m benchmarks.annealing OTHER [--rounds 1] [--temperatures 1000] [--images 100]

OTHER is the folder of another version, such as one that `git worktree add` made. Every measurement
is a process of its own; the versions take turns. The table shows the seconds of each round, the
ratio of the medians, and what was estimated.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent.parent

# Run by both versions: it uses nothing that one of them may lack.
SCRIPT = """
import json, sys, time
import torch
from ppvae import VAE, data, diagnostics, likelihoods, networks, pairs, posteriors, priors

what, temperatures, images, weights = sys.argv[1], *map(int, sys.argv[2:4]), sys.argv[4]
if what == "ais":
    torch.manual_seed(0)
    pair = VAE(
        priors.StandardNormal(50),
        likelihoods.Bernoulli(networks.MLP(50, 784, hidden=[200, 200])),
        posteriors.DiagonalNormal(networks.MLP(784, 100, hidden=[200, 200])),
    )
    x = (torch.rand(images, 784) < 0.3).float()
    diagnostics.ais(pair, x[:2], temperatures=2, chains=2)  # imports what the first run needs
    started = time.perf_counter()
    found = diagnostics.ais(pair, x, temperatures=temperatures, chains=16)
    told = {"log P(X)": found.log_evidence, "acceptance": found.acceptance}
else:
    digits = data.digits()
    pair = pairs.assemble(digits)
    pair.load_state_dict(torch.load(weights))
    diagnostics.gaps(pair, digits.test[:2], steps=8)
    started = time.perf_counter()
    found = diagnostics.gaps(pair, digits.test)
    told = {name: found[name] for name in ("optimal_elbo", "normal_elbo", "log_evidence")}
    told |= {"converged": found.converged, "k": found.pareto_k}
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds} | {name: float(v.mean()) for name, v in told.items()}))
"""

FIT = """
import sys
import torch
import ppvae
from ppvae import data, pairs

digits = data.digits()
pair = pairs.assemble(digits)
ppvae.fit(pair, digits, epochs=30)
torch.save(pair.state_dict(), sys.argv[1])
"""


def run(folder, script, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(
        command, env=environment, cwd="/", check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.strip().splitlines()[-1] if done.stdout else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path, help="the folder of the other version")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--temperatures", type=int, default=1000)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--only", choices=["ais", "gaps"])
    chosen = parser.parse_args()
    versions = {"other": chosen.other.resolve(), "this": HERE}
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.pt"
        for what in [chosen.only] if chosen.only else ["gaps", "ais"]:
            if what == "gaps":
                run(HERE, FIT, weights)
            taken = {name: [] for name in versions}
            for _ in range(chosen.rounds):
                for name, place in versions.items():
                    numbers = (chosen.temperatures, chosen.images, weights)
                    told = json.loads(run(place, SCRIPT, what, *numbers))
                    taken[name].append(told["seconds"])
                    print(what, name, {k: round(v, 4) for k, v in told.items()}, flush=True)
            medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
            print(f"{what}: {medians['this'] / medians['other']:.2f} of the other version's time")


if __name__ == "__main__":
    main()
