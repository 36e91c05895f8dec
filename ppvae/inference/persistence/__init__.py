"""What a training writes to disk, and how it is read again without running foreign code."""

from ppvae.inference.persistence.checkpoints import Checkpoints, State
from ppvae.inference.persistence.files import read_json, whole, write, write_json
from ppvae.inference.persistence.names import present_name
from ppvae.inference.persistence.saving import load, save

__all__ = [
    "Checkpoints",
    "State",
    "load",
    "present_name",
    "read_json",
    "save",
    "whole",
    "write",
    "write_json",
]
