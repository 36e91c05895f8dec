"""Draws of chunks of one shape as compiled code."""

from dataclasses import replace

import torch
from torch import Tensor

from ppvae.engine.batches import Batch
from ppvae.engine.compilation import Refused, Watch, capture, generate
from ppvae.engine.guide_draws import Draws, draw
from ppvae.engine.isolation import random_state, set_random_state
from ppvae.engine.pair import Pair
from ppvae.engine.structure import Structure

_WORTH = 1e11  # bytes that pass through the draws from which on code for them earns its time
_TOLERANCE = 1e-4  # relative; what is wrong differs by far more


class CompiledDraws:
    """`draw` by compiled code, where there is much to draw.

    The code is waited for, so that the same call gives the same scores bit for bit. The draws are
    those of `draw` in any case, their scores equal to rounding.

    Args:
        pair: the model/guide pair.
        bytes: memory that passes through all draws.
    """

    def __init__(self, pair: Pair, bytes: float) -> None:
        self.pair = pair
        self.wanted = bytes >= _WORTH
        self.shape: tuple[object, ...] = ()
        self.compared = False

    def __call__(self, batch: Batch, structure: Structure, draws: int) -> Draws:
        """Draw z ~ q(z|x) for every datapoint and score each draw, all at once."""
        shape = (draws, *((tensor.shape, tensor.stride()) for tensor in batch))
        if self.wanted and not self.shape:
            self.shape = shape
            self._begin(batch, structure, draws)
        if not self.wanted or shape != self.shape:
            return draw(self.pair, batch, structure, draws)
        state = torch.get_rng_state(), torch.cuda.get_rng_state_all()
        try:
            return (
                self._run(batch, structure) if self.compared else self._compare(batch, structure)
            )
        except (Refused, RuntimeError):
            self.wanted = False
            torch.set_rng_state(state[0])
            torch.cuda.set_rng_state_all(state[1])
            return draw(self.pair, batch, structure, draws)

    def _begin(self, batch: Batch, structure: Structure, draws: int) -> None:
        self.draws = draws
        # A closed form that each chunk's own structure holds is no matter of the draws.
        self.inner = structure if structure.kl is None else replace(structure, ordered=False)
        self.inner = replace(self.inner, kl=None)
        self.has_kl = False
        try:
            self.graph = capture(self._program, list(batch))
            self.code = generate(self.graph, [*batch, *self.graph.lifted])
        except Refused:
            self.wanted = False

    def _program(self, watch: Watch, *batch: Tensor) -> list[Tensor]:
        drawn = draw(self.pair, batch, self.inner, self.draws)
        self.has_kl = drawn.kl is not None
        return drawn.tensors()

    def _run(self, batch: Batch, structure: Structure) -> Draws:
        prior, likelihood, posterior, *more = self.code.result()([*batch, *self.graph.lifted])
        if self.graph.checked and not more[-1]:
            raise Refused("a value lies outside its distribution's support")
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

    def _compare(self, batch: Batch, structure: Structure) -> Draws:
        """Draw both ways from one random state; what is returned is not compiled."""
        state = random_state()
        ours = self._run(batch, structure)
        set_random_state(state)
        theirs = draw(self.pair, batch, structure, self.draws)
        for value, other in zip(ours.tensors(), theirs.tensors(), strict=True):
            near = torch.isclose(
                *(value.double(), other.double()), _TOLERANCE, _TOLERANCE, equal_nan=True
            )
            self.wanted &= bool(near.all())
        self.compared = True
        return theirs
