"""Streams whose workers all yield the same rows."""

from typing import Any, final

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

_ROWS = 32  # of each worker that are compared


@final
class WorkerCopies:
    """Refuses a `DataLoader` of an `IterableDataset` of which each worker yields all rows.

    Every worker has a copy of the dataset. Unless this asks `torch.utils.data.get_worker_info`
    which share is its own, every row comes once for each worker. A loader takes turns with its
    workers, so that the first batches of each are then equal.

    Args:
        source: of the batches.
    """

    def __init__(self, source: Any) -> None:
        stream = isinstance(source, DataLoader) and isinstance(source.dataset, IterableDataset)
        self._workers: int = source.num_workers if stream else 0
        self._read: list[list[Tensor]] = [[] for _ in range(self._workers)]
        self._count = 0
        self._compared = self._workers < 2

    def look(self, rows: Tensor) -> None:
        """Look at the next batch.

        Raises:
            ValueError: if the first rows of all workers are the same.
        """
        if self._compared:
            return
        self._read[self._count % self._workers].append(rows)
        self._count += 1
        if not self._count % self._workers and sum(map(len, self._read[0])) >= _ROWS:
            self.compare()

    def compare(self) -> None:
        """Compare what was read of each worker, as at the end of the stream.

        Raises:
            ValueError: if it is the same for all.
        """
        if self._compared or not all(self._read):
            return
        self._compared = True
        every = [torch.cat(batches) for batches in self._read]
        self._read.clear()
        first = every[0]
        if len(first) > 1 and not bool((first != first[0]).any()):  # rows of one value say nothing
            return
        if len(first) > 1 and all(torch.equal(first, other) for other in every[1:]):
            raise ValueError(
                f"the {self._workers} workers of the DataLoader yield the same rows, each all of "
                "the IterableDataset; let it yield the share of one worker, which "
                "torch.utils.data.get_worker_info() tells, or pass num_workers=0"
            )
