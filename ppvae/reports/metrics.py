"""The file of a run that holds its evaluations."""

import json
import os
from pathlib import Path

from ppvae.inference import Training
from ppvae.inference.persistence import write_bytes
from ppvae.reports.tables import number


class Metrics:
    """A callback for `fit` that writes every evaluation as a line of `metrics.jsonl`.

    Args:
        folder: where to write.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "metrics.jsonl"
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
