"""Presents a program's sites as if its rows stood in the plate "data"."""

from collections.abc import Mapping
from typing import Any

from pyro.poutine.broadcast_messenger import BroadcastMessenger
from pyro.poutine.indep_messenger import CondIndepStackFrame
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from ppvae.engine.adaptation.data_plate import size_at
from ppvae.engine.sites import PLATE


class Sizes(Messenger):  # type: ignore[misc]
    """Gives plates without a size that of each site's distribution."""

    def _pyro_sample(self, message: Any) -> None:
        if not site_is_subsample(message):
            frames = message["cond_indep_stack"]
            message["cond_indep_stack"] = tuple(_sized(frame, message["fn"]) for frame in frames)


def _sized(frame: Any, distribution: Any) -> Any:
    if not frame.vectorized or frame.size != -1:
        return frame
    return frame._replace(size=size_at(distribution, frame.dim), full_size=None)


class Conventions(Messenger):  # type: ignore[misc]
    """Renames the plate over datapoints "data", and gives plates without a size theirs.

    Args:
        plate: the plate's name in this program, or None where a batch dimension stands for it.
        dim: the batch dimension of the datapoints.
        rows: their number.
        index: the datapoints that a program picks which picks them itself, or None.
        given: values of latents that all datapoints share, by site: they are no longer drawn.
        left_out: names of observed sites that do not count.
        unrolled: take the sites of a loop over a plate for sites of their own.
    """

    def __init__(
        self,
        plate: str | None,
        dim: int,
        rows: int,
        index: Tensor | None = None,
        given: Mapping[str, Tensor] | None = None,
        left_out: frozenset[str] = frozenset(),
        unrolled: bool = True,
    ) -> None:
        super().__init__()
        self.plate = plate
        self.dim = dim
        self.rows = rows
        self.index = index
        self.given = given or {}
        self.left_out = left_out
        self.unrolled = unrolled

    def _pyro_sample(self, message: Any) -> None:
        if site_is_subsample(message):
            if self.index is not None and message["name"] == self.plate:
                message["value"] = self.index
            return
        if message["name"] in self.given:
            message["value"] = self.given[message["name"]]
            message["stop"] = True  # nothing outside sees it
            return
        if message["name"] in self.left_out:
            message["stop"] = True
            return
        frames = [
            self._renamed(frame, message)
            for frame in message["cond_indep_stack"]
            if frame.vectorized or not self.unrolled
        ]
        if self.plate is None and size_at(message["fn"], self.dim) == self.rows:
            frames.insert(0, CondIndepStackFrame(PLATE, self.dim, self.rows, 0))
        if tuple(frames) != message["cond_indep_stack"]:
            message["cond_indep_stack"] = tuple(frames)
            BroadcastMessenger._pyro_sample(message)

    def _renamed(self, frame: Any, message: Any) -> Any:
        if frame.vectorized and frame.size == -1 and frame.name == self.plate:
            frame = frame._replace(size=self.rows, full_size=None)
        frame = _sized(frame, message["fn"])
        if frame.name == self.plate:
            return frame if frame.name == PLATE else frame._replace(name=PLATE)
        return frame._replace(name=f"{PLATE}_") if frame.name == PLATE else frame
