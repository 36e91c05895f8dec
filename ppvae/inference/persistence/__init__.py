"""Files of pairs and trainings, read without running foreign code."""

from ppvae.inference.persistence.checkpoints import Checkpoints, State
from ppvae.inference.persistence.closed_list import ClosedList
from ppvae.inference.persistence.files import (
    atomic_write,
    read_json,
    read_text,
    remove_left_over,
    sync_folder,
    write_bytes,
    write_json,
)
from ppvae.inference.persistence.names import present_name
from ppvae.inference.persistence.saving import load, save

__all__ = [
    "Checkpoints",
    "ClosedList",
    "State",
    "atomic_write",
    "load",
    "present_name",
    "read_json",
    "read_text",
    "remove_left_over",
    "save",
    "sync_folder",
    "write_bytes",
    "write_json",
]
