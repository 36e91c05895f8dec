"""Kills of one of two processes under torchrun: does the job end, or start again, in time?

    python -m benchmarks.worker_kills [--kills 20] [--seed 0]

Every second job may restart its processes. Prints for each kill how long the job went on, and
whether the last step of a restarted training was reached.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LONGEST = 30  # seconds that a job may go on after a kill that ends it


def processes_below(parent):
    """Return the numbers of a process's children."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[1]) == parent:
            found.append(int(path.parent.name))
    return sorted(found)


def job(folder, restarts, steps, output):
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node=2", f"--max-restarts={restarts}", "-m", "ppvae", "fit", "digits"]
    command += ["--steps", str(steps), "--checkpoint_seconds", "0.5", "--compile", "false"]
    command += ["--draws", "2", "--refine_seconds", "0", "--figures", "false"]
    command += ["--patience", "100000", "--folder", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=output, stderr=output, env=environment)


def last_step(folder):
    path = folder / "metrics.jsonl"
    return json.loads(path.read_text().splitlines()[-1])["step"] if path.exists() else None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    drawn, failures = random.Random(chosen.seed), 0
    for number in range(chosen.kills):
        restarts = (number + 1) % 2
        with tempfile.TemporaryDirectory() as place:
            folder, log = Path(place) / "run", Path(place) / "log"
            with log.open("w") as output:
                running = job(folder, restarts, chosen.steps, output)
                while not list(folder.glob("checkpoint-*")) and running.poll() is None:
                    time.sleep(0.05)
                time.sleep(drawn.uniform(0, 2))
                workers = processes_below(running.pid)
                if len(workers) < 2:
                    sys.exit(f"the job ended before its kill:\n{log.read_text()[-3000:]}")
                rank = drawn.randrange(len(workers))
                os.kill(workers[rank], signal.SIGKILL)
                killed = time.perf_counter()
                code = running.wait(600)
                seconds = time.perf_counter() - killed
            if restarts:
                fine = code == 0 and last_step(folder) == chosen.steps
                what = f"started again and ended at step {last_step(folder)}"
            else:
                fine = code != 0 and seconds < LONGEST
                what = "ended"
            failures += not fine
            print(f"kill {number + 1}: {what} after {seconds:.1f} s, exit code {code}", flush=True)
            if not fine:
                print(log.read_text()[-3000:])
    print(f"{failures} of {chosen.kills} kills went wrong")


if __name__ == "__main__":
    main()
