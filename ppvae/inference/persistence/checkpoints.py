"""The state of a training on disk, from which it continues as if it had never stopped."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

from torch import Tensor

from ppvae.inference.persistence.files import read_json, read_tensors, write_json, write_tensors

_STATE = "checkpoint.json"

State = dict[str, Any]
"""Dicts, lists, tuples, numbers, strings and tensors, nested at will."""


class Checkpoints:
    """The folder in which a training keeps its state, and how often it is written.

    A checkpoint is two files: `checkpoint-STEP.safetensors` with weights, optimizer state and
    other tensors, and `checkpoint.json` with all else. The second names the first and is written
    after it. Hence the folder holds one complete checkpoint, or none, at any time.

    Args:
        folder: where to write; created if missing.
        seconds: the shortest time between two checkpoints; 0 writes one after each step.

    Raises:
        ValueError: if `seconds` is negative.

    Example:
        >>> import tempfile, ppvae
        >>> from ppvae import data, pairs
        >>> pair, digits = pairs.assemble(data.digits(), latent=2), data.digits()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     first = ppvae.fit(pair, digits, epochs=1, checkpoint=Checkpoints(folder))
        ...     second = ppvae.fit(pair, digits, epochs=2, resume=folder)
        >>> first.steps, second.steps
        (12, 24)
    """

    def __init__(self, folder: str | Path, seconds: float = 30.0) -> None:
        if not seconds >= 0:
            raise ValueError(f"Checkpoints needs seconds of at least 0, got {seconds}")
        self.folder = Path(folder)
        self.seconds = seconds
        self._written = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time for the next checkpoint."""
        return time.monotonic() - self._written >= self.seconds

    @property
    def exists(self) -> bool:
        """Whether the folder holds a checkpoint."""
        return (self.folder / _STATE).exists()

    def write(self, step: int, state: State) -> None:
        """Write a state, then remove the previous one.

        Raises:
            TypeError: if the state holds something that neither JSON nor safetensors can.
        """
        tensors: dict[str, Tensor] = {}
        packed = _pack(state, "", tensors)
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"checkpoint-{step}.safetensors"
        write_tensors(self.folder / name, tensors)
        write_json(self.folder / _STATE, {"tensors": name, "state": packed})
        # Files that a process left when it was killed while writing are removed too.
        for pattern in ("checkpoint-*.safetensors", ".checkpoint*"):
            for path in self.folder.glob(pattern):
                if path.name != name and (path.is_symlink() or not path.is_dir()):
                    path.unlink(missing_ok=True)
        self._written = time.monotonic()

    def read(self) -> State:
        """Return the last state written.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if a file is damaged; the message names it.
        """
        path = self.folder / _STATE
        if not path.exists():
            raise FileNotFoundError(f"{self.folder} holds no {_STATE} to resume from")
        content = read_json(path)
        tensors = read_tensors(self.folder / Path(str(content.get("tensors"))).name)
        try:
            state = _unpack(content["state"], tensors)
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"{path} is damaged: it lacks {error}") from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is damaged: it holds no state") from error
        if not isinstance(state, dict):
            raise ValueError(f"{path} is damaged: it holds no state")
        return state


def _pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return a nested value as JSON can hold it; add its tensors by name to `tensors`."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"tensor": name}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        items = [_pack(item, f"{name}/{index}", tensors) for index, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, dict):
        pairs = [[key, _pack(item, f"{name}/{key}", tensors)] for key, item in value.items()]
        return {"counter" if isinstance(value, Counter) else "dict": pairs}
    raise TypeError(
        f"the training's state cannot be saved: {name.strip('/')} is a {type(value).__name__}; "
        "train without checkpoints, or with parts whose state is numbers and tensors"
    )


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "tuple":
        return tuple(_unpack(item, tensors) for item in content)
    unpacked = {key: _unpack(item, tensors) for key, item in content}
    return Counter(unpacked) if kind == "counter" else unpacked
