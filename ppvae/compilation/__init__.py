"""Programs as graphs of torch's operations, and graphs as machine code."""

from ppvae.compilation.code import Code, Replay, Run, generate, replay
from ppvae.compilation.graph import Graph, capture
from ppvae.compilation.guard import Guard
from ppvae.compilation.objective import loss_and_gradients, loss_of
from ppvae.compilation.reads import Watch
from ppvae.compilation.refusal import Refused

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
