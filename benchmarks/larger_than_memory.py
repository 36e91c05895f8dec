"""Training on images that are larger than memory, against the same training on a few in memory.

    python -m benchmarks.larger_than_memory [--gigabytes 24] [--steps 300] [--rounds 3]

A file `.npy` of color images of 8 bits, 32 x 32 pixels, is made; most of it is a hole, which reads
as zeros, so that it takes little room on the disk. One process trains on it from disk, another on
a tensor of `--rows` of its images, with the same pair, and both take turns. Printed are the time
of a step and its processor time, that of the reading thread included, which other work on the
machine does not change; the processor time of a minibatch alone; and the peak resident memory of
each process (VmHWM), beside what importing and a tiny training take. Bars: a peak below 1.5 GB,
and 0.9 of the throughput in memory.
"""

import argparse
import functools
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SHAPE = (32, 32, 3)
BATCH = 128
WARM = 5  # steps before the clock starts
MINIBATCHES = 1000
FILLED = 64  # runs of images that are no hole
RUN = 512  # images of one
MOST, LEAST = 1.5e9, 0.9
KINDS = ("step", "processor")


def made(path, gigabytes):
    """Write the header of an array of so many gigabytes, and images at some places of it."""
    rows = int(gigabytes * 1e9) // int(np.prod(SHAPE))
    random = np.random.default_rng(0)
    written = np.lib.format.open_memmap(path, "w+", np.uint8, (rows, *SHAPE))
    for start in np.linspace(0, rows - RUN, FILLED).astype(int):
        written[start : start + RUN] = images(random, RUN)
    written.flush()


def images(random, count):
    """Return images of smooth stripes with noise."""
    waves = np.sin(np.linspace(0, 6, 32)[:, None] * random.uniform(0.5, 2, (count, 1, 1, 3)))
    levels = 127 + 90 * waves.repeat(32, axis=1) + random.normal(0, 12, (count, *SHAPE))
    return levels.clip(0, 255).astype(np.uint8)


def memory(name):
    """Return a size of this process as the system has it, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def light(dataset):
    """Return a pair whose steps are so short that reading has to be fast."""
    from ppvae import likelihoods, networks, pairs

    return pairs.assemble(
        dataset,
        network=functools.partial(networks.MLP, hidden=(128,)),
        likelihood=functools.partial(likelihoods.Binomial, total_count=255),
    )


def serve(path, rows, compiled):
    """Train in rounds when asked; print the seconds of each step, and the peak of memory."""
    import torch

    import ppvae
    from ppvae import data

    torch.set_num_threads(1)
    tiny = np.random.default_rng(0).integers(0, 256, (80, *SHAPE), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/tiny.npy", tiny)
        few = data.array(f"{folder}/tiny.npy")
        pair = light(few)
        ppvae.fit(pair, few, steps=2, compile=compiled, progress=False)
    before = memory("VmHWM")
    dataset = data.on_disk(path, held_out=1000)
    if rows:
        dataset = dataset.sampled(rows)
    torch.manual_seed(0)
    pair = light(dataset)
    print(json.dumps({"before": before, "rows": len(dataset.train)}), flush=True)
    for line in sys.stdin:
        times = []

        def clock(step, times=times):
            times.append((time.perf_counter(), time.process_time()))
            return 1.0

        if not int(line):  # at the end: it has buffers of its own
            print(json.dumps(minibatch(dataset, pair)), flush=True)
            continue
        steps = WARM + int(line)
        ppvae.fit(
            pair,
            dataset,
            steps=steps,
            batch_size=BATCH,
            kl_weight=clock,
            compile=compiled,
            compile_from=WARM // 2 if compiled else None,
            progress=False,
        )
        wall, processor = (
            (end - start) / (steps - 1 - WARM)
            for start, end in zip(times[WARM], times[steps - 1], strict=True)
        )
        found = {"step": wall, "processor": processor, "peak": memory("VmHWM")}
        print(json.dumps(found), flush=True)


def minibatch(dataset, pair):
    """Return the processor time of a minibatch alone, over two buffers and more."""
    from ppvae.inference.steps import minibatches_of

    batches = minibatches_of(dataset, pair, BATCH)
    read = (batch for _ in range(1000) for batch in batches)
    next(read)
    start = time.process_time()
    for _ in itertools.islice(read, MINIBATCHES):
        pass
    return (time.process_time() - start) / MINIBATCHES


class Worker:
    """A process that trains when asked."""

    def __init__(self, path, rows, compiled):
        options = ["--path", str(path), "--rows", str(rows), *(["--compile"] if compiled else [])]
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.larger_than_memory", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = json.loads(self.process.stdout.readline())

    def train(self, steps):
        print(steps, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=24)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=20_000, help="images in memory")
    parser.add_argument("--compile", action="store_true", help="train compiled")
    parser.add_argument("--folder", help="where the file is made; the temporary folder")
    parser.add_argument("--path", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.path:
        serve(given.path, given.rows, given.compile)
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder) / "images.npy"
        made(path, given.gigabytes)
        size = path.stat()
        print(f"{size.st_size / 1e9:.1f} GB, of which {size.st_blocks * 512 / 1e9:.2f} on disk")
        workers = {"disk": Worker(path, 0, given.compile)}
        workers["memory"] = Worker(path, given.rows, given.compile)
        found = {name: [] for name in workers}
        for _ in range(given.rounds):
            for name, worker in workers.items():
                found[name].append(worker.train(given.steps))
        alone = {name: 1e3 * worker.train(0) for name, worker in workers.items()}
        for worker in workers.values():
            worker.end()
    for name, rounds in found.items():
        ready, peak = workers[name].ready, rounds[-1]["peak"]
        wall, processor = (
            1e3 * statistics.median(each[kind] for each in rounds) for kind in KINDS
        )
        print(
            f"{name:6} {ready['rows']:>9,} rows: {wall:.2f} ms a step, {processor:.2f} ms of the "
            f"processor, {alone[name]:.3f} of a minibatch; peak {peak / 1e6:,.0f} "
            f"MB, {(peak - ready['before']) / 1e6:,.0f} MB beyond importing"
        )
    wall, processor = (
        statistics.median(
            memory[kind] / disk[kind]
            for memory, disk in zip(found["memory"], found["disk"], strict=True)
        )
        for kind in KINDS
    )
    print(
        f"throughput {wall:.3f} of that in memory, by processor time {processor:.3f} (at least "
        f"{LEAST})"
    )
    peak = max(each["peak"] for each in found["disk"])
    print(f"peak {peak / 1e9:.2f} GB (at most {MOST / 1e9})")


if __name__ == "__main__":
    main()
