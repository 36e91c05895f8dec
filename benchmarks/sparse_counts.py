"""Peak memory of sparse counts: reading, assembling a pair, and one epoch, each in a new process.

    python -m benchmarks.sparse_counts [--cells 20000] [--genes 5000] [--filled 0.075] [--compile]
        [--accumulate 1]

Prints the peak beyond what importing costs, in multiples of the sparse matrix (values, columns
and row pointers).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

BATCH = 128
MIB = 2**20


def simulated(cells, genes, filled, seed=0):
    """Return counts as `scipy.sparse` has them, `(cells, genes)`, 32-bit values and columns."""
    from scipy.sparse import csr_array

    random = np.random.default_rng(seed)
    each = random.binomial(genes, filled, cells).clip(1)
    pointers = np.concatenate([[0], np.cumsum(each)]).astype(np.int32)
    columns = np.concatenate([np.sort(random.choice(genes, n, replace=False)) for n in each])
    values = 1 + random.poisson(random.gamma(0.5, 2.0, len(columns)))
    parts = (values.astype(np.float32), columns.astype(np.int32), pointers)
    return csr_array(parts, shape=(cells, genes))


def peak():
    """Return the highest resident memory of this process so far, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def measure(path, compile, accumulate):
    """Print the peak after each stage, in bytes beyond what importing takes, and sizes."""

    import ppvae
    from ppvae import data, pairs

    # A small run first: what torch and Pyro take once is part of importing.
    tiny = data.counts(simulated(64, 20, 0.5), sparse=True)
    ppvae.fit(pairs.assemble(tiny, latent=2), tiny, epochs=1, compile=compile, progress=False)
    before = peak()
    read = data.counts(path)
    matrix = read.train.matrix
    size = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
    stages = {"data.counts": peak()}
    pair = pairs.assemble(read)
    stages["assemble"] = peak()
    options = {"compile": compile, "accumulate": accumulate, "progress": False}
    fitted = ppvae.fit(pair, read, batch_size=BATCH, epochs=1, **options)
    stages["one epoch"] = peak()
    print(
        json.dumps(
            {
                "matrix": size,
                "stages": {stage: used - before for stage, used in stages.items()},
                "weights": sum(p.numel() * p.element_size() for p in pair.parameters()),
                "steps": fitted.steps,
                "loss": float(fitted.history["validation_loss"].values[-1]),
            }
        )
    )


def run(*options):
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.sparse_counts", *options]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--genes", type=int, default=5_000)
    parser.add_argument("--filled", type=float, default=0.075)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--accumulate", type=int, default=1, help="parts of a minibatch")
    parser.add_argument("--path", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.path:
        measure(given.path, given.compile, given.accumulate)
        return
    from scipy.sparse import save_npz

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/cells.npz"
        save_npz(path, simulated(given.cells, given.genes, given.filled), compressed=False)
        options = ["--accumulate", str(given.accumulate), "--path", path]
        options += ["--compile"] * given.compile
        sparse = run(*options)
    matrix, dense = sparse["matrix"], BATCH * given.genes * 4
    print(f"sparse matrix {matrix / MIB:.1f} MiB, dense minibatch {dense / MIB:.1f} MiB")
    print(f"weights, with gradient and Adam's moments {4 * sparse['weights'] / MIB:.1f} MiB")
    for stage, used in sparse["stages"].items():
        print(
            f"{stage}: peak {used / MIB:.1f} MiB beyond importing, "
            f"{max(0, used - dense) / matrix:.2f} sparse matrices and a minibatch"
        )
    print(f"validation loss {sparse['loss']:.2f} nats a cell after {sparse['steps']} steps")


if __name__ == "__main__":
    main()
