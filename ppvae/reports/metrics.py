"""The file of a run that holds its evaluations, written and read."""

import json
import math
import os
from pathlib import Path

import xarray as xr

from ppvae.inference import Training
from ppvae.inference.persistence import read_text, write_bytes
from ppvae.reports.tables import number


class Metrics:
    """A callback for `fit` that writes every evaluation as a line of `metrics.jsonl`.

    Args:
        folder: where to write.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / _FILE
        self._begun = False

    def __call__(self, training: Training) -> None:
        """Append the latest evaluation.

        The first call writes the file anew with all evaluations: a training that was killed may
        have left half a line at its end.
        """
        if training.ended:
            return
        records = training.records[-1:] if self._begun else training.records
        lines = "".join(
            json.dumps({name: number(value) for name, value in record.items()}) + "\n"
            for record in records
        )
        if self._begun:
            # O_NOFOLLOW: never through a symbolic link that was put there meanwhile.
            flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW
            with os.fdopen(os.open(self.path, flags), "ab") as file:
                file.write(lines.encode())
                file.flush()
                os.fsync(file.fileno())
        else:
            write_bytes(self.path, lines.encode())
        self._begun = True


_FILE = "metrics.jsonl"
_LARGEST = 2**28  # bytes


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
            records.append(
                {str(k): math.nan if v is None else float(v) for k, v in record.items()}
            )
        except (ValueError, TypeError, AttributeError) as error:
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
