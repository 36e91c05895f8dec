"""Real series: an electroencephalogram."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.data.dataset import Dataset

_CHANNELS = ("PG3", "PG5", "PG7", "PG9")
_SAMPLES, _HELD = 800, 160  # of the recording, and of each part that is held out


def eeg(steps: int = 20, *, every: int = 1) -> Dataset:
    """Return windows of a brain's electric activity at four electrodes, as series.

    The recording is the sample data `eeg.dat` of matplotlib: 800 samples, 80 a second by the axis
    of its example "MRI with EEG", of each channel with mean 0 and standard deviation 1. It is
    split by time: the last 160 samples are for testing, the 160 before them for validation, and no
    window lies in two parts. Those of validation and test do not overlap either.

    A datapoint is `(steps * 4,)`, step after step, as `data.sequences` has them;
    `data.with_lengths` gives `(steps, 4)`. `rows` holds the number of a window's first sample.

    Args:
        steps: of a window, from 1 to 160.
        every: samples from the beginning of one training window to that of the next; they overlap
            if these are fewer than `steps`.

    Raises:
        ValueError: if a number is not in its range.
        FileNotFoundError: if matplotlib was installed without its sample data.

    Example:
        >>> waves = eeg()
        >>> waves.train.shape, waves.test.shape, waves.series_shape
        (torch.Size([461, 80]), torch.Size([8, 80]), (20, 4))
    """
    if not 1 <= steps <= _HELD or every < 1:
        raise ValueError(
            f"eeg needs steps from 1 to {_HELD} and every >= 1, got {steps} and {every}"
        )
    recording = _recording()
    parts: dict[str, tuple[int, int, int]] = {
        "train": (0, _SAMPLES - 2 * _HELD, every),
        "validation": (_SAMPLES - 2 * _HELD, _SAMPLES - _HELD, steps),
        "test": (_SAMPLES - _HELD, _SAMPLES, steps),
    }
    rows = {
        part: torch.arange(start, end - steps + 1, apart)
        for part, (start, end, apart) in parts.items()
    }
    train, validation, test = (
        recording[starts[:, None] + torch.arange(steps)].flatten(1) for starts in rows.values()
    )
    return Dataset(
        "eeg",
        train=train,
        validation=validation,
        test=test,
        support=constraints.real,
        rows=rows,
        columns=tuple(f"{channel} [{step}]" for step in range(steps) for channel in _CHANNELS),
        series_shape=(steps, len(_CHANNELS)),
    )


def _recording() -> Tensor:
    from matplotlib.cbook import get_sample_data

    path = Path(get_sample_data("eeg.dat", asfileobj=False))
    if not path.is_file():
        raise FileNotFoundError(
            f"matplotlib was installed without its sample data: there is no {path}; install it "
            "from PyPI: pip install --force-reinstall matplotlib"
        )
    values = np.fromfile(path, "<f8")
    if values.size != _SAMPLES * len(_CHANNELS):
        raise ValueError(
            f"{path} holds {values.size} numbers; expected {_SAMPLES} of {len(_CHANNELS)} channels"
        )
    return torch.from_numpy(values.reshape(_SAMPLES, -1)).float()
