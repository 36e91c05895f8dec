"""One training step: minibatch, loss, gradients, update; through Pyro or compiled."""

from ppvae.inference.steps.data_sources import (
    after,
    held_out_of,
    in_memory,
    minibatches_of,
    monitored,
    row_chunk,
)
from ppvae.inference.steps.joint_gradients import JointGradients
from ppvae.inference.steps.minibatches import Minibatch, Minibatches
from ppvae.inference.steps.optimizers import Constructor, JointOptim
from ppvae.inference.steps.programs import announced_programs, objective_for
from ppvae.inference.steps.pyro_step import Steps
from ppvae.inference.steps.switching import Choice, CompiledSteps

__all__ = [
    "Choice",
    "CompiledSteps",
    "Constructor",
    "JointGradients",
    "JointOptim",
    "Minibatch",
    "Minibatches",
    "Steps",
    "after",
    "announced_programs",
    "held_out_of",
    "in_memory",
    "minibatches_of",
    "monitored",
    "objective_for",
    "row_chunk",
]
