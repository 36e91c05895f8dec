"""The file of a run that holds its evaluations, written and read."""

import json
import math
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import xarray as xr

from ppvae.inference import Training
from ppvae.inference.persistence import read_text, refuse_other_than_file, sync_folder

_FILE = "metrics.jsonl"
_LARGEST = 2**28  # bytes


class Metrics:
    """A callback for `fit` that writes every evaluation as a line of `metrics.jsonl`.

    The file is opened once, and lines are appended. A training that was killed may have left half
    a line at its end, and lines of evaluations after its last checkpoint: one that goes on from
    there cuts them off before it writes. Lines that a power failure has cost are written again.

    Args:
        folder: where to write.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / _FILE
        self._training: Training | None = None
        self._descriptor = -1
        self._close: Callable[[], object] = lambda: None

    def __call__(self, training: Training) -> None:
        """Append the latest evaluation, after all others if it is the first call."""
        if training is not self._training:
            if training.ended and not self.path.exists():
                return
            self._open(training.records)
            self._training = training
        elif not training.ended:
            self._append(training.records[-1])
        if training.ended:
            os.fsync(self._descriptor)
            sync_folder(self.path.parent)
            self._close()
            self._training = None

    def _open(self, records: Sequence[Mapping[str, float]]) -> None:
        """Open the file, and make it hold exactly these evaluations."""
        self._close()
        refuse_other_than_file(self.path)
        # O_NOFOLLOW: never through a symbolic link that is put there meanwhile.
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        self._descriptor = os.open(self.path, flags, 0o666)
        self._close = weakref.finalize(self, os.close, self._descriptor)
        held, size = 0, 0
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            for line in map(_line, records):
                if file.readline(len(line)) != line:
                    break
                held, size = held + 1, size + len(line)
        os.ftruncate(self._descriptor, size)
        for record in records[held:]:
            self._append(record)

    def _append(self, record: Mapping[str, float]) -> None:
        """Write a line, which the system has when this returns: a killed process loses none."""
        line = _line(record)
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError as error:
            error.filename = str(self.path)  # the system names none
            raise


def _line(record: Mapping[str, float]) -> bytes:
    known = {name: value if math.isfinite(value) else None for name, value in record.items()}
    return f"{json.dumps(known)}\n".encode()  # JSON has no NaN


def read_metrics(folder: Path) -> xr.Dataset | None:
    """Return the evaluations of a run over `step`, as those of a `Fit`; None if it has none.

    Half a line, which a training that was killed may have left, is left out.

    Raises:
        ValueError: if the file is damaged.
    """
    path = folder / _FILE
    if not path.is_file():
        return None
    records = []
    lines = read_text(path, _LARGEST).splitlines()
    for place, line in enumerate(lines):
        try:
            record = json.loads(line)
            numbers = {str(k): math.nan if v is None else float(v) for k, v in record.items()}
            int(numbers.get("step", 0))  # a step is a finite number
            records.append(numbers)
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            if place == len(lines) - 1:
                break
            raise ValueError(f"{path} is damaged in line {place + 1}: {error}") from error
    records = [record for record in records if "step" in record]
    if not records:
        return None
    names = dict.fromkeys(name for record in records for name in record if name != "step")
    return xr.Dataset(
        {name: ("step", [record.get(name, math.nan) for record in records]) for name in names},
        coords={"step": [int(record["step"]) for record in records]},
        attrs={"units": "nats per datapoint"},
    )
