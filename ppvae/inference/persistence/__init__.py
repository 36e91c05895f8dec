"""Files of pairs and trainings, read without running foreign code."""

from ppvae.inference.persistence.checkpoints import Checkpoints, State
from ppvae.inference.persistence.closed_list import ClosedList
from ppvae.inference.persistence.columns import as_columns, as_records
from ppvae.inference.persistence.files import (
    atomic_write,
    make_folder,
    read_json,
    read_text,
    refuse_other_than_file,
    remove_left_over,
    sync_folder,
    write_bytes,
    write_json,
)
from ppvae.inference.persistence.lock import LOCK, Lock
from ppvae.inference.persistence.names import present_name
from ppvae.inference.persistence.saving import load, save

__all__ = [
    "LOCK",
    "Checkpoints",
    "ClosedList",
    "Lock",
    "State",
    "as_columns",
    "as_records",
    "atomic_write",
    "load",
    "make_folder",
    "present_name",
    "read_json",
    "read_text",
    "refuse_other_than_file",
    "remove_left_over",
    "save",
    "sync_folder",
    "write_bytes",
    "write_json",
]
