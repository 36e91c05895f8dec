"""A training as a program: `python program.py MANNER STEPS COMPILE`; it prints what came of it."""

import asyncio
import hashlib
import os
import sys
import threading

import torch

import ppvae
from ppvae import data, pairs


def trained(steps, compile):
    """Train a small pair; return what became of compilation, and a fingerprint of the weights."""
    digits = data.digits()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pair = pairs.assemble(digits, latent=2)
    start = steps // 2 if compile else None  # where training waits for the code
    fit = ppvae.fit(pair, digits, steps=steps, compile=compile, compile_from=start, progress=False)
    weights = b"".join(p.detach().numpy().tobytes() for p in pair.parameters())
    return fit.compilation, hashlib.sha256(weights).hexdigest()


def in_child(steps, compile):
    """Train in a forked process; end as it ends."""
    child = os.fork()
    if child == 0:
        try:
            show(*trained(steps, compile))
        except ValueError as error:
            print(f"refused: {error}", flush=True)
        os._exit(0)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def show(compilation, digest):
    print(f"{digest} {compilation}", flush=True)


async def in_loop(steps, compile):
    await asyncio.sleep(0)
    show(*trained(steps, compile))


def main():
    manner, steps, compile = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "compiled"
    if manner == "fork":
        in_child(steps, compile)
    elif manner == "fork after training":
        trained(2, False)
        in_child(steps, compile)
    elif manner == "thread":
        thread = threading.Thread(target=lambda: show(*trained(steps, compile)))
        thread.start()
        thread.join()
    elif manner == "event loop":
        asyncio.run(in_loop(steps, compile))
    else:
        if manner == "no current folder":
            os.mkdir("gone")
            os.chdir("gone")
            os.rmdir("../gone")
        show(*trained(steps, compile))


if __name__ == "__main__":
    main()
