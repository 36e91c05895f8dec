"""`python -m benchmarks.fuzz`: files of any content are read, or refused in one sentence."""

import argparse
import hashlib
import logging
import mmap
import os
import random
import resource
import struct
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

from benchmarks.fuzz.formats import FORMATS
from benchmarks.fuzz.mutations import mutated
from benchmarks.fuzz.outcomes import limit_memory, outcome

_STUCK = 30.0  # seconds after which a process that reads one file is ended
_KEPT = 400  # files that are changed further


def fuzz(form, count, folder, seed=0, start=0, done=lambda number: None):
    """Read many changed files of a format; yield number, content and outcome of each new kind.

    Args:
        form: a `Format`.
        count: how many files.
        folder: an empty folder.
        seed: of the changes.
        start: the number of the first one.
        done: called with the number of each file before it is read.
    """
    path = form.prepare(folder)
    pool = list(form.seeds)
    known = set()
    for number in range(start, start + count):
        chance = random.Random(f"{seed} {number}")
        content = mutated(chance.choice(pool), chance, pool)
        done(number)
        form.write(path, content)
        found = outcome(form.read, path)
        kind = found.where, bool(found.finding)
        new = kind not in known
        if new:
            known.add(kind)
            if not found.finding:
                pool.insert(len(form.seeds), content)
                del pool[_KEPT:]
        yield number, content if new else None, found


def check(form, folder):
    """Check that valid files are read."""
    path = form.prepare(folder)
    for content in form.seeds:
        form.write(path, content)
        found = outcome(form.read, path)
        assert found.where[0] == "value", f"a valid {form.name} is refused: {found}"


def _in_process(form, count, folder, seed, keep):
    """Read files in a process of its own; if it dies, go on in another. Return what was found."""
    shared = mmap.mmap(-1, 8)
    check(form, folder)
    total, findings = Counter(), {}
    start = 0
    while start < count:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            _child(form, count - start, folder, seed, start, shared, writing, keep)
        os.close(writing)
        status = _watched(child, shared)
        with os.fdopen(reading) as lines:
            for line in lines:
                kind, _, text = line.rstrip("\n").partition(" ")
                if kind == "finding":
                    findings.setdefault(text, 1)
                else:
                    total[kind] += int(text)
        (last,) = struct.unpack("<q", shared[:8])
        if status == 0:
            break
        how = "hangs" if status == -9 else f"dies by signal {status}"
        findings[f"number {last}: the process {how}"] = 1
        total["read"] += last - start + 1
        _keep(keep, form, folder / form.file, f"{last}")
        start = last + 1
    return total, list(findings)


def _child(form, count, folder, seed, start, shared, writing, keep):
    code = 1
    try:
        limit_memory()
        before, totals = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, Counter()
        with os.fdopen(writing, "w") as lines:

            def done(number):
                shared[:8] = struct.pack("<q", number)

            for number, content, found in fuzz(form, count, folder, seed, start, done):
                totals["read"] += 1
                totals["values" if found.where[0] == "value" else "refused"] += not found.finding
                if found.finding:
                    totals["findings"] += 1
                    if content is not None:
                        print(
                            f"finding number {number}: {found.finding!r}", file=lines, flush=True
                        )
                        _keep(keep, form, folder / form.file, f"{number}")
                elif content is not None:
                    totals["kinds"] += 1
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            totals["megabytes"] = (after - before) // 2**10
            for name, number in totals.items():
                print(name, number, file=lines)
        code = 0
    finally:
        os._exit(code)


def _watched(child, shared):
    """Wait for a process; end it if it reads one file for too long. Return how it ended."""
    last, since = b"", time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if shared[:8] != last:
            last, since = shared[:8], time.monotonic()
        if time.monotonic() - since > _STUCK:
            os.kill(child, 9)
            os.waitpid(child, 0)
            return -9
        time.sleep(0.05)


def _keep(keep, form, path, name):
    if keep is not None and path.is_file():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        target = keep / f"{form.name}-{name}-{digest}{''.join(path.suffixes)}"
        target.write_bytes(path.read_bytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--format", nargs="*", default=[*FORMATS], choices=[*FORMATS], dest="names"
    )
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the files that are findings")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable()
    if options.keep is not None:
        options.keep.mkdir(exist_ok=True)
    print("| format | inputs | values | refused | kinds | findings | MB more | inputs a second |")
    print("|---|---|---|---|---|---|---|---|")
    bad = False
    for name in options.names:
        form = FORMATS[name]
        if form.missing:
            print(f"| {name} | needs {', '.join(form.missing)} |", flush=True)
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            found, findings = _in_process(
                form, options.inputs, Path(folder), options.seed, options.keep
            )
        rate = found["read"] / (time.monotonic() - began)
        print(
            f"| {name} | {found['read']:,} | {found['values']:,} | {found['refused']:,} "
            f"| {found['kinds']} | {max(found['findings'], len(findings)):,} "
            f"| {found['megabytes']} | {rate:,.0f} |",
            flush=True,
        )
        for finding in findings:
            print(f"    {finding}", flush=True)
        bad |= bool(findings)
    sys.exit(bad)


if __name__ == "__main__":
    main()
