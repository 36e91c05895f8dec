"""Runs code so that the caller finds random state, training mode and parameters as they were."""

import base64
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyro
import pyro.poutine as poutine
import torch
from torch import Tensor

from ppvae.engine.modules import modules_of


def random_state() -> dict[str, Any]:
    """Return the states of torch's, NumPy's and Python's generators, as JSON can hold them."""
    numpy = np.random.get_state(legacy=False)
    assert isinstance(numpy, dict)
    version, words, gauss = random.getstate()
    return {
        "torch": _encoded(torch.get_rng_state()),
        "cuda": [_encoded(state) for state in torch.cuda.get_rng_state_all()],
        "numpy": {
            **numpy,
            "state": {**numpy["state"], "key": numpy["state"]["key"].tolist()},
        },
        "python": [version, list(words), gauss],
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Continue the generators from a state that `random_state` returned."""
    torch.set_rng_state(_decoded(state["torch"]))
    torch.cuda.set_rng_state_all([_decoded(text) for text in state["cuda"]])
    numpy = state["numpy"]
    key = np.array(numpy["state"]["key"], dtype=np.uint32)
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": key}})
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))


def _encoded(state: Tensor) -> str:
    return base64.b64encode(state.numpy().tobytes()).decode()


def _decoded(text: str) -> Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)


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
def isolated(pair: object, seed: int, *, keep: bool = False) -> Iterator[None]:
    """Evaluate a pair without leaving a trace of it.

    Inside the block the pair is in evaluation mode, gradients are off, the random state is that of
    `seed`, and no effect handler of the caller sees the pair's sites. After it every module's
    training mode, the random state and the set of stored parameters are what they were.

    Args:
        pair: a model/guide pair; its modules are those that `modules_of` finds.
        seed: the seed of every draw in the block.
        keep: leave the parameters that the pair puts into Pyro's store, as training wants them.
    """
    modules = modules_of(pair)
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
        for name in set() if keep else set(store.keys()) - stored:
            del store[name]
