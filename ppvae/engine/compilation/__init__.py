"""Programs as graphs of torch's operations, and graphs as machine code."""

from ppvae.engine.compilation.agreement import LOSS_TOLERANCE, Quantity, relative_error
from ppvae.engine.compilation.attributes import Attribute, Kept
from ppvae.engine.compilation.capture_error import CaptureError, NoCode
from ppvae.engine.compilation.code import Code, Generator, Replay, Run, generate, replay
from ppvae.engine.compilation.graph import Graph, capture
from ppvae.engine.compilation.guard import Guard
from ppvae.engine.compilation.objective import loss_and_gradients, loss_of
from ppvae.engine.compilation.reads import CaptureMode
from ppvae.engine.compilation.switch import CompiledProgram, OutsideSupport
from ppvae.engine.compilation.torch_internals import (
    add_to_each,
    capturing,
    import_compiler,
    multiply_each,
    norm_of_each,
    tree_flatten,
    tree_unflatten,
)

__all__ = [
    "LOSS_TOLERANCE",
    "Attribute",
    "CaptureError",
    "CaptureMode",
    "Code",
    "CompiledProgram",
    "Generator",
    "Graph",
    "Guard",
    "Kept",
    "NoCode",
    "OutsideSupport",
    "Quantity",
    "Replay",
    "Run",
    "add_to_each",
    "capture",
    "capturing",
    "generate",
    "import_compiler",
    "loss_and_gradients",
    "loss_of",
    "multiply_each",
    "norm_of_each",
    "relative_error",
    "replay",
    "tree_flatten",
    "tree_unflatten",
]
