"""The state of a training on disk, from which it continues as if it had never stopped."""

import hashlib
import json
import logging
import re
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ppvae.inference.persistence.files import (
    make_folder,
    read_json,
    read_metadata,
    read_tensors,
    write_tensors,
)
from ppvae.inference.persistence.lock import Lock

_NAME = re.compile(r"checkpoint-(\d+)\.safetensors")
_FIRST = "checkpoint.json"  # of version 0.1, beside its tensors

State = dict[str, Any]
"""Dicts, lists, tuples, numbers, strings and tensors, nested at will."""

_LOG = logging.getLogger(__name__)


class Checkpoints:
    """The folder in which a training keeps its state, how often it is written, and how many stay.

    A checkpoint is one file, `checkpoint-STEP.safetensors`: the tensors, all else as text, and the
    SHA-256 of both. It is on disk before an older one is removed. Hence the folder holds the last
    `keep` complete checkpoints, or as many as there were, at any time.

    Resuming takes the newest. If that is damaged, it takes the newest that is not, and logs a
    warning.

    Args:
        folder: where to write; created if missing. One process at a time trains into it.
        seconds: the shortest time between two checkpoints; 0 writes one after each step, None
            only those of `steps`, and the one at the end.
        steps: also write one after every so many steps.
        keep: how many to keep.

    Attributes:
        lock: what keeps a second training out of the folder.

    Raises:
        ValueError: if `seconds` is negative, or `steps` or `keep` is less than 1.

    Example:
        >>> import tempfile, ppvae
        >>> from ppvae import data, pairs
        >>> pair, digits = pairs.assemble(data.digits(), latent=2), data.digits()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     first = ppvae.fit(pair, digits, epochs=1, checkpoint=Checkpoints(folder, steps=10))
        ...     second = ppvae.fit(pair, digits, epochs=2, resume=folder)
        >>> first.steps, second.steps
        (12, 24)
    """

    def __init__(
        self,
        folder: str | Path,
        seconds: float | None = 30.0,
        *,
        steps: int | None = None,
        keep: int = 1,
    ) -> None:
        if seconds is not None and not seconds >= 0:
            raise ValueError(f"Checkpoints needs seconds of at least 0, got {seconds}")
        if steps is not None and steps < 1:
            raise ValueError(f"Checkpoints needs steps of at least 1, got {steps}")
        if keep < 1:
            raise ValueError(f"Checkpoints needs keep of at least 1, got {keep}")
        self.folder = Path(folder)
        self.seconds = seconds
        self.steps = steps
        self.keep = keep
        self.lock = Lock(self.folder)
        self._written = time.monotonic()
        self._own: list[Path] = []  # of this training, the oldest first

    def due(self, step: int) -> bool:
        """Tell whether it is time for a checkpoint, after a number of steps."""
        if self.steps is not None and step % self.steps == 0:
            return True
        return self.seconds is not None and time.monotonic() - self._written >= self.seconds

    @property
    def exists(self) -> bool:
        """Whether the folder holds a checkpoint."""
        return bool(self._saved())

    @property
    def step(self) -> int | None:
        """The step of the newest checkpoint; None if there is none, or not of this version."""
        return next(iter(self._numbered()), None)

    def write(self, step: int, state: State) -> None:
        """Write a state, then remove those that are not kept.

        Raises:
            TypeError: if the state holds something that neither JSON nor safetensors can.
        """
        tensors: dict[str, Tensor] = {}
        text = json.dumps(_pack(state, "", tensors))
        tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        path = self.folder / f"checkpoint-{step}.safetensors"
        make_folder(self.folder)
        write_tensors(path, tensors, {"state": text, "sha256": _digest(text, tensors)})
        self._own = [*(own for own in self._own if own != path), path][-self.keep :]
        # Checkpoints of another training, and of steps that are taken anew, would be resumed from.
        # What a process left that was killed while writing is removed too.
        left = [*self.folder.glob(".checkpoint*"), *self.folder.glob(_FIRST)]
        for other in {*left, *self._numbered().values()} - {*self._own}:
            if other.is_symlink() or not other.is_dir():
                other.unlink(missing_ok=True)
        self._written = time.monotonic()

    def read(self) -> State:
        """Return the last state written that is not damaged.

        Raises:
            FileNotFoundError: if there is none.
            OSError: if a checkpoint is a symbolic link that leaves its folder, or no plain file.
            ValueError: if all are damaged; the message names the newest.
        """
        saved = self._saved()
        damage: ValueError | None = None
        for place, path in enumerate(saved):
            try:
                state = _read_first(path) if path.name == _FIRST else _read(path)
            except ValueError as error:
                damage = damage or error
                continue
            if damage is not None:
                _LOG.warning("%s; training goes on from %s", damage, path.name)
            self._own = [own for own in reversed(saved[place:]) if own.name != _FIRST]
            return state
        if damage is not None:
            raise damage
        raise FileNotFoundError(f"{self.folder} holds no checkpoint to resume from")

    def _saved(self) -> list[Path]:
        """Return the checkpoints in the folder, the newest first."""
        numbered, first = self._numbered(), self.folder / _FIRST
        if not first.exists():
            return [*numbered.values()]
        tensors = read_json(first).get("tensors")  # they are no checkpoint of their own
        return [*(path for path in numbered.values() if path.name != tensors), first]

    def _numbered(self) -> dict[int, Path]:
        """Return the files that are named like checkpoints by their steps, the newest first."""
        found = {
            int(match[1]): path
            for path in self.folder.glob("checkpoint-*.safetensors")
            if (match := _NAME.fullmatch(path.name))
        }
        return dict(sorted(found.items(), reverse=True))


def _read(path: Path) -> State:
    """Return the state that a file holds."""
    metadata, tensors = read_metadata(path), read_tensors(path)
    text = metadata.get("state", "")
    if metadata.get("sha256") != _digest(text, tensors):
        raise ValueError(f"{path} is damaged: it does not hold what was written")
    try:
        packed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: it holds no state") from error
    return _unpacked(packed, tensors, path)


def _read_first(path: Path) -> State:
    """Return the state that version 0.1 wrote, which named the file of its tensors."""
    content = read_json(path)
    tensors = read_tensors(path.parent / Path(str(content.get("tensors"))).name)
    return _unpacked(content.get("state"), tensors, path)


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a text and of tensors, in the order of their names."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _unpacked(packed: Any, tensors: dict[str, Tensor], path: Path) -> State:
    try:
        state = _unpack(packed, tensors)
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{path} is damaged: it lacks {error!s:.200}") from error
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
        if all(type(item) in (int, float) for item in value):  # a random state has thousands
            return value if isinstance(value, list) else {"tuple": value}
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
        return tensors.pop(content)  # no two values are one tensor
    if kind == "tuple":
        return tuple(_unpack(item, tensors) for item in content)
    unpacked = {key: _unpack(item, tensors) for key, item in content}
    return Counter(unpacked) if kind == "counter" else unpacked
