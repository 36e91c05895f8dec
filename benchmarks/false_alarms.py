"""How often `diagnose` raises an alarm, for exact pairs and for known faults.

    python -m benchmarks.false_alarms [--level quick|standard|both] [--runs 100] [--searched 0]

Each run has new data, simulated from the model, and new draws. An alarm is a finding whose verdict
is "look" or "bad". `--searched` is the number of datapoints of the gaps, which take half the time.
"""

import argparse
import dataclasses
import json
from collections import Counter
from pathlib import Path

import torch

from ppvae.diagnostics import QUICK, STANDARD, Verdict, diagnose
from tests.correlated_gaussian import CorrelatedGaussian
from tests.exact_pairs import PAIRS

EXACT = ("2 latents", "10 latents", "Gamma-Poisson")
FAULTS = {
    "mean + 0.3 sd": {"shift": 0.3},
    "scale x 0.7": {"scale": 0.7},
    "scale x 1.5": {"scale": 1.5},
    "correlations dropped": {"diagonal": True},
}
LEVELS = {"quick": QUICK, "standard": STANDARD}
ALARMS = (Verdict.LOOK, Verdict.BAD)


def faulty(**fault):
    """A pair whose guide has a known fault, with the data of its model."""
    pair = CorrelatedGaussian(**fault)

    def simulate(rows, seed):
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(rows, pair.latents, generator=generator)
        return z @ pair.loadings.T + torch.randn(rows, pair.latents, generator=generator)

    pair.simulate = simulate
    return pair


def count(pair, effort, runs, first=0):
    """Return the runs with an alarm, the alarms of each check, and all p-values."""
    alarmed, of_check, p_values = 0, Counter(), []
    for seed in range(first, first + runs):
        x = pair.simulate(effort.datapoints, 10_000 + seed)
        found = diagnose(pair, x, effort=effort, seed=seed, progress=False)
        names = [f.name for f in found.findings if f.verdict in ALARMS]
        alarmed += bool(names)
        of_check.update(names)
        p_values.append({f.name: f.p_value for f in found.findings if f.p_value is not None})
    return alarmed, of_check, p_values


def main():
    """Print a line for each pair and level."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--level", choices=[*LEVELS, "both"], default="both")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--searched", type=int)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--write", type=Path, help="a file for the p-values")
    chosen = parser.parse_args()
    pairs = {name: PAIRS[name] for name in EXACT}
    pairs |= {name: lambda fault=fault: faulty(**fault) for name, fault in FAULTS.items()}
    written = {}
    for level, effort in LEVELS.items():
        if chosen.level not in (level, "both"):
            continue
        if chosen.searched is not None:
            effort = dataclasses.replace(effort, searched=min(chosen.searched, effort.searched))
        for name, build in pairs.items():
            if chosen.only and name not in chosen.only:
                continue
            alarmed, of_check, p_values = count(build(), effort, chosen.runs, chosen.first)
            each = ", ".join(f"{check} {number}" for check, number in of_check.items())
            print(f"{level:9}{name:22}{alarmed:4} of {chosen.runs} runs: {each}", flush=True)
            written[f"{level}, {name}"] = p_values
    if chosen.write:
        chosen.write.write_text(json.dumps(written))


if __name__ == "__main__":
    main()
