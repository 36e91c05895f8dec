"""One variant of one case in a process of its own: reads numbers of steps, writes seconds."""

import resource
import sys
import time

from benchmarks.cases import CASES, GROWTH
from benchmarks.variants import VARIANTS


def main(name, variant):
    started = time.perf_counter()
    case = {**CASES, **GROWTH}[name]
    run = VARIANTS[variant](case)
    run(3)  # compiles, warms caches
    run(case.steps)
    print("ready", time.perf_counter() - started, flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        run(int(line))
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(seconds, peak, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
