"""Draws of chunks of one shape as compiled code."""

import warnings
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from ppvae.engine.batches import Batch
from ppvae.engine.compilation import (
    LOSS_TOLERANCE,
    CaptureError,
    CaptureMode,
    CompiledProgram,
    Quantity,
    generate,
)
from ppvae.engine.draws.drawn import Draws
from ppvae.engine.draws.guide_draws import draw
from ppvae.engine.errors import first_line
from ppvae.engine.isolation import random_state, set_random_state
from ppvae.engine.pair import Pair
from ppvae.engine.structure import Structure

_MIN_BYTES = 1e11  # passing through all draws; for fewer, code takes longer than it saves


class CompiledDraws:
    """`draw` by compiled code, where there is much to draw.

    The compiler is waited for, so that the same call gives the same scores bit for bit. The draws
    are those of `draw` in any case, their scores equal up to rounding. Where no code can be used,
    `draw` runs as it is, and a warning says why, once.

    Args:
        pair: the model/guide pair.
        bytes: memory that passes through all draws.
    """

    def __init__(self, pair: Pair, bytes: float) -> None:
        self.pair = pair
        self.wanted = bytes >= _MIN_BYTES
        self.shape: tuple[object, ...] = ()
        self.program: CompiledProgram | None = None

    def __call__(self, batch: Batch, structure: Structure, draws: int) -> Draws:
        """Draw z ~ q(z|x) for every datapoint and score each draw, all at once."""
        shape = (draws, *((tensor.shape, tensor.stride()) for tensor in batch))
        self.shape = self.shape or shape
        if not self.wanted or shape != self.shape:
            return draw(self.pair, batch, structure, draws)
        state = random_state()
        try:
            if self.program is None:
                self.program = self._captured(batch, structure, draws)
            if self.program.compared:
                return self._run(batch, structure)
            return self.program.compare(
                lambda: _compared(draw(self.pair, batch, structure, draws)),
                lambda: _compared(self._run(batch, structure)),
            )
        except CaptureError as error:
            self._give_up(str(error))
        set_random_state(state)
        return draw(self.pair, batch, structure, draws)

    def _captured(self, batch: Batch, structure: Structure, draws: int) -> CompiledProgram:
        # A closed form that each chunk's own structure holds does not depend on the draws.
        inner = structure if structure.kl is None else replace(structure, ordered=False)
        inner = replace(inner, kl=None)
        self.has_kl = False

        def program(mode: CaptureMode, *batch: Tensor) -> list[Tensor]:
            drawn = draw(self.pair, batch, inner, draws)
            self.has_kl = drawn.kl is not None
            return drawn.tensors()

        return CompiledProgram(program, batch, generate)

    def _run(self, batch: Batch, structure: Structure) -> Draws:
        assert self.program is not None
        prior, likelihood, posterior, *more = self._outputs(batch)
        observed, latents = structure.observed, structure.latents
        kl = None if structure.kl is None else structure.kl.expand_as(prior)
        return Draws(
            log_prior=prior,
            log_likelihood=likelihood,
            log_posterior=posterior,
            log_likelihoods=dict(zip(observed, more, strict=False)),
            kl=more[len(observed) + len(latents)] if self.has_kl else kl,
            latents=dict(zip(latents, more[len(observed) :], strict=False)),
            predicted={},
            simulated={},
        )

    def _outputs(self, batch: Batch) -> list[Tensor]:
        assert self.program is not None
        try:
            return self.program(batch)
        except RuntimeError as error:  # of the code, or the pair's own, which `draw` raises again
            raise CaptureError(f"compiled, it fails: {first_line(error)}") from error

    def _give_up(self, reason: str) -> None:
        """Run `draw` as it is from now on, and say why."""
        self.wanted, self.program = False, None
        warnings.warn(f"draws run uncompiled: {reason}", RuntimeWarning, stacklevel=2)


def _compared(drawn: Draws) -> tuple[Draws, Sequence[Quantity]]:
    return drawn, [
        Quantity(f"draws or densities number {place}", [tensor], tolerance=LOSS_TOLERANCE)
        for place, tensor in enumerate(drawn.tensors())
    ]
