"""Trainings that SIGKILL ends again and again, and that end as if it never had.

    python -m benchmarks.kills [KILLS] [SEED]

Each training is a process that is forked from this one, which has imported everything. It is
killed at a random moment and goes on in the next process, until there were so many kills; then it
ends. Its weights, its history and its metrics.jsonl must equal those of a training that was never
killed, bit for bit.
"""

import json
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ppvae
from ppvae import likelihoods, networks, posteriors, priors
from ppvae.inference import Checkpoints, EarlyStopping, LinearWarmup
from ppvae.reports import Metrics

KILLS = 100
IN_A_WRITE = "inside the write of a checkpoint"
FEWEST_IN_A_WRITE = 20
AIMED = 0.3  # of the kills: at a write, all others at any moment
LONGEST = 0.6  # seconds from the start of a process to its end
X = (torch.rand(90, 6, generator=torch.Generator().manual_seed(1)) < 0.4).float()
STEPS, WARMUP = 250, 20
EVERY_STEP = {"seconds": 0.0}
TRAININGS = (  # how data come, and how checkpoints are written
    (lambda: X, {**EVERY_STEP, "keep": 1}),
    (lambda: X, {"seconds": None, "steps": 3, "keep": 3}),
    (lambda: DataLoader(TensorDataset(X), batch_size=16, shuffle=True), {**EVERY_STEP, "keep": 2}),
)
RESULT = "result.safetensors"


def pair():
    torch.manual_seed(0)
    hidden = nn.Sequential(nn.Linear(6, 64), nn.BatchNorm1d(64), nn.Dropout(0.3))
    return ppvae.VAE(
        priors.StandardNormal(2),
        likelihoods.Bernoulli(networks.MLP(2, 6, hidden=[64])),
        posteriors.DiagonalNormal(nn.Sequential(hidden, nn.Linear(64, 4))),
    )


def train(folder, data, options, steps=STEPS):
    """Train, from the last checkpoint if there is one; write what came of it."""
    one, source, checkpoints = pair(), data(), Checkpoints(folder, **options)
    fit = ppvae.fit(
        one,
        source,
        steps=steps,
        batch_size=16 if source is X else None,
        validation=X[:40],
        kl_weight=LinearWarmup(WARMUP),
        callbacks=[Metrics(folder), EarlyStopping(patience=None)],
        checkpoint=checkpoints,
        resume=checkpoints if checkpoints.exists else None,
        compile=False,
        seed=4,
    )
    history = fit.history.drop_vars("seconds")
    tensors = {f"weights {name}": value.clone() for name, value in one.state_dict().items()}
    tensors |= {f"history {n}": torch.from_numpy(v.values.copy()) for n, v in history.items()}
    tensors["history step"] = torch.from_numpy(history.step.values.copy())
    save_file(tensors, folder / RESULT)


def started(folder, training):
    """Return the process of a training."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        train(folder, *training)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def killed(process, seconds, folder, aimed):
    """Kill a process after some seconds; tell whether it had not ended before.

    A kill that is aimed comes as soon as the process writes a checkpoint. Where it has hit is seen
    afterwards.
    """
    deadline, before = time.monotonic() + seconds, left_over(folder)
    while time.monotonic() < deadline or (aimed and not left_over(folder) - before):
        if os.waitpid(process, os.WNOHANG)[0]:
            return False
        time.sleep(0 if aimed else 0.002)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    return os.WIFSIGNALED(status)


def result(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    metrics = [{**json.loads(line), "seconds": None} for line in lines]
    return load_file(folder / RESULT), metrics


def same(first, second):
    (tensors, metrics), (others, theirs) = first, second
    equal = [torch.equal(tensors[name], others[name]) for name in tensors.keys() | others.keys()]
    return all(equal) and metrics == theirs


def left_over(folder):
    """Return the temporary files, each of which a process has left that was killed in a write."""
    return {path.name for path in folder.glob(".checkpoint*")}


def step_of(folder):
    return max(
        (int(path.stem[11:]) for path in folder.glob("checkpoint-*.safetensors")), default=0
    )


def where(folder, before, options):
    """Say where a kill has hit, by what it has left."""
    if left_over(folder) - before:
        return IN_A_WRITE
    if len([*folder.glob("checkpoint-*.safetensors")]) > options["keep"]:
        return "between a checkpoint and the removal of an older one"
    if not step_of(folder):
        return "before the first checkpoint"
    return "elsewhere"


def main(kills=KILLS, seed=0):
    """Kill trainings so many times; print what was found, and return whether all ended well."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:  # what is done once, no process does again
        train(Path(folder), TRAININGS[0][0], {}, WARMUP)
    chance, hits, taken, endings = random.Random(seed), Counter(), [], []
    with tempfile.TemporaryDirectory() as place:
        whole = [
            uninterrupted(Path(place) / f"whole-{i}", d) for i, (d, _) in enumerate(TRAININGS)
        ]
        while hits.total() < kills or hits[IN_A_WRITE] < FEWEST_IN_A_WRITE:
            trial = len(endings) % len(TRAININGS)
            training, folder = TRAININGS[trial], Path(place) / f"killed-{len(endings)}"
            folder.mkdir()
            last = hits.total() + math.ceil(kills / len(TRAININGS))  # of this training
            while True:
                enough = hits.total() >= last
                before, reached = left_over(folder), step_of(folder)
                process = started(folder, training)
                seconds = float("inf") if enough else chance.uniform(0, LONGEST)
                aimed = not enough and chance.random() < AIMED
                if not killed(process, seconds, folder, aimed):
                    break
                hits[where(folder, before, training[1])] += 1
                taken.append(step_of(folder) - reached)
            endings.append(ended_well(folder, whole[trial], training[1]))
    print(f"{hits.total()} kills of {len(endings)} trainings of {STEPS} steps:")
    for what, number in hits.most_common():
        print(f"  {number:4} {what}")
    print(
        f"  {sum(map(bool, taken))} processes had written checkpoints, {sum(taken)} steps in all"
    )
    print(f"{sum(endings)} of {len(endings)} trainings equal the uninterrupted one bit for bit")
    return all(endings)


def uninterrupted(folder, data):
    """Return the result of a training that is not killed."""
    folder.mkdir()
    os.waitpid(started(folder, (data, {"seconds": None})), 0)
    return result(folder)


def ended_well(folder, whole, options):
    """Tell whether a training has ended as one that was never killed, and left nothing behind."""
    if not (folder / RESULT).exists() or not same(result(folder), whole):
        return False
    names = {path.name for path in folder.iterdir()}
    checkpoints = {name for name in names if name.startswith("checkpoint-")}
    shutil.rmtree(folder)
    return names == {*checkpoints, "metrics.jsonl", RESULT} and len(checkpoints) == options["keep"]


if __name__ == "__main__":
    sys.exit(0 if main(*map(int, sys.argv[1:])) else 1)
