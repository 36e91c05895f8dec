"""Runs code so that the caller finds random state, training mode and parameters as they were."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyro
import pyro.poutine as poutine
import torch
from torch import nn


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch, NumPy and Python inside the block; give back their states after it.

    Example:
        >>> with seeded(0):
        ...     first = torch.randn(3)
        >>> with seeded(0):
        ...     bool((torch.randn(3) == first).all())
        True
    """
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def seeds(seed: int) -> Iterator[int]:
    """Yield seeds without end, all following from `seed`, for draws apart from its own.

    Example:
        >>> numbers = seeds(0)
        >>> next(numbers) == next(numbers)
        False
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    while True:
        yield int(torch.randint(2**63 - 1, (), generator=generator, device="cpu"))


@contextmanager
def isolated(pair: object, seed: int) -> Iterator[None]:
    """Evaluate a pair without leaving a trace of it.

    Inside the block the pair is in evaluation mode, gradients are off, the random state is that of
    `seed`, and no effect handler of the caller sees the pair's sites. After it every module's
    training mode, the random state and the set of stored parameters are what they were.

    Args:
        pair: a model/guide pair; its modules are found if it is an `nn.Module`.
        seed: the seed of every draw in the block.
    """
    modules = list(pair.modules()) if isinstance(pair, nn.Module) else []
    training = [module.training for module in modules]
    store = pyro.get_param_store()
    stored = set(store.keys())
    for module in modules:
        module.training = False
    try:
        with seeded(seed), torch.no_grad(), poutine.block():
            yield
    finally:
        for module, mode in zip(modules, training, strict=True):
            module.training = mode
        for name in set(store.keys()) - stored:
            del store[name]
