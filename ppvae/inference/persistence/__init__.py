"""Files of pairs and trainings, read without running foreign code."""

from ppvae.inference.persistence.checkpoints import Checkpoints, State
from ppvae.inference.persistence.files import atomic_write, read_json, write_bytes, write_json
from ppvae.inference.persistence.names import present_name
from ppvae.inference.persistence.saving import load, save

__all__ = [
    "Checkpoints",
    "State",
    "atomic_write",
    "load",
    "present_name",
    "read_json",
    "save",
    "write_bytes",
    "write_json",
]
