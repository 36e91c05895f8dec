"""Runs a function in several processes at once, which make up the default process group."""

import multiprocessing
import socket

import torch


def _process(rank, number, port, results, function, arguments):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://localhost:{port}", rank=rank, world_size=number
    )
    try:
        results.put((rank, function(*arguments)))
    except Exception as error:
        results.put((rank, f"{type(error).__name__}: {error}"))
    finally:
        torch.distributed.destroy_process_group()


def in_processes(number, function, *arguments):
    """Return what the function returns in each process, or its error as text.

    The processes are copies of this one: nothing is imported anew.
    """
    context = multiprocessing.get_context("fork")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    results = context.Queue()
    started = [
        context.Process(target=_process, args=(rank, number, port, results, function, arguments))
        for rank in range(number)
    ]
    for each in started:
        each.start()
    found = dict(results.get(timeout=60) for _ in started)
    for each in started:
        each.join(10)
    return [found[rank] for rank in range(number)]
