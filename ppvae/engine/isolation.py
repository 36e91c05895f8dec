"""Runs code and restores random state, training mode and parameters afterwards."""

import base64
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import pyro
import pyro.poutine as poutine
import torch
from torch import Tensor

from ppvae.engine.modules import modules_of
from ppvae.engine.pyro_internals import remove_stored

RandomState: TypeAlias = dict[str, Any]
"""States of the generators by library: "torch", "cuda", "numpy", "python"."""


def random_state() -> RandomState:
    """Return the states of torch's, NumPy's and Python's generators.

    Those of NumPy and Python compare by `==`.
    """
    name, key, *rest = np.random.get_state()
    assert isinstance(key, np.ndarray)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
        "numpy": (name, key.tobytes(), *rest),
        "python": random.getstate(),
    }


def set_random_state(state: RandomState) -> None:
    """Continue the generators from a state that `random_state` returned."""
    torch.set_rng_state(state["torch"])
    torch.cuda.set_rng_state_all(state["cuda"])
    name, key, *rest = state["numpy"]
    np.random.set_state((name, np.frombuffer(key, dtype=np.uint32), *rest))
    random.setstate(state["python"])


def random_state_as_json(state: RandomState) -> dict[str, Any]:
    """Write a state that `random_state` returned as JSON can hold it.

    Example:
        >>> import json
        >>> written = json.dumps(random_state_as_json(random_state()))
        >>> set_random_state(random_state_from_json(json.loads(written)))
    """
    name, key, position, has_gauss, gauss = state["numpy"]
    version, words, python_gauss = state["python"]
    words_of_numpy = np.frombuffer(key, dtype=np.uint32).tolist()
    return {
        "torch": _encoded(state["torch"]),
        "cuda": [_encoded(each) for each in state["cuda"]],
        "numpy": {
            "bit_generator": name,
            "state": {"key": words_of_numpy, "pos": position},
            "has_gauss": has_gauss,
            "gauss": gauss,
        },
        "python": [version, list(words), python_gauss],
    }


def random_state_from_json(written: Mapping[str, Any]) -> RandomState:
    """Return the state that `random_state_as_json` wrote.

    Raises:
        TypeError: if it is another.
    """
    try:
        return _checked(_from_json(written))
    except Exception as error:  # each library refuses it in its way
        raise TypeError("its random state is damaged") from error


def _from_json(written: Mapping[str, Any]) -> RandomState:
    numpy = written["numpy"]
    key = np.array(numpy["state"]["key"], dtype=np.uint32).tobytes()
    version, words, gauss = written["python"]
    return {
        "torch": _decoded(written["torch"]),
        "cuda": [_decoded(text) for text in written["cuda"]],
        "numpy": (
            numpy["bit_generator"],
            key,
            numpy["state"]["pos"],
            numpy["has_gauss"],
            numpy["gauss"],
        ),
        "python": (version, tuple(words), gauss),
    }


def _checked(state: RandomState) -> RandomState:
    """Return a state that the generators take, tried on others than those in use."""
    torch.Generator().set_state(state["torch"])
    name, key, position, *rest = state["numpy"]
    words = np.frombuffer(key, dtype=np.uint32)
    if not 0 <= position <= len(words):  # NumPy would read outside of its memory
        raise ValueError(f"position {position}")
    np.random.RandomState().set_state((name, words, position, *rest))
    random.Random().setstate(state["python"])
    return state


def _encoded(state: Tensor) -> str:
    return base64.b64encode(state.numpy().tobytes()).decode()


def _decoded(text: str) -> Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch, NumPy and Python inside the block; restore their states after it.

    Example:
        >>> with seeded(0):
        ...     first = torch.randn(3)
        >>> with seeded(0):
        ...     bool((torch.randn(3) == first).all())
        True
    """
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        _seed_torch(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def _seed_torch(seed: int) -> None:
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:  # the same without the time that looking for devices takes
        torch.default_generator.manual_seed(seed)


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
        keep: keep the parameters that the pair puts into Pyro's store, as training needs them.
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
            remove_stored(name)
