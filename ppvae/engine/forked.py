"""What a process does that is forked from one that has loaded this package."""

import os

import torch


def compute_with_one_thread() -> None:
    """Compute with one thread.

    OpenMP's threads do not survive a fork: where the parent has used them, the first operation
    that needs several waits for them for ever. torch's own loaders do the same in their workers.
    """
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)


os.register_at_fork(after_in_child=compute_with_one_thread)
