"""Programs as graphs of torch's operations, and graphs as machine code."""

from ppvae.engine.compilation.code import Code, Replay, Run, generate, replay
from ppvae.engine.compilation.graph import Graph, capture
from ppvae.engine.compilation.guard import Guard
from ppvae.engine.compilation.objective import loss_and_gradients, loss_of
from ppvae.engine.compilation.reads import Watch
from ppvae.engine.compilation.refusal import Refused

__all__ = [
    "Code",
    "Graph",
    "Guard",
    "Refused",
    "Replay",
    "Run",
    "Watch",
    "capture",
    "generate",
    "loss_and_gradients",
    "loss_of",
    "replay",
]
