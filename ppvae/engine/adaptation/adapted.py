"""A pair whose rows stand in the plate "data", and whose batch is tensors of rows."""

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ppvae.engine.adaptation.conventions import Conventions, Sizes
from ppvae.engine.adaptation.data_plate import DataPlate
from ppvae.engine.adaptation.datapoints_apart import DatapointsApart
from ppvae.engine.adaptation.forms import Form
from ppvae.engine.adaptation.shared_latents import Shared
from ppvae.engine.batches import Batch
from ppvae.engine.errors import Unsupported
from ppvae.engine.pair import Pair, Program


@dataclass(eq=False)
class Adapted:
    """A pair as the engine takes it.

    Args:
        pair: the pair.
        form: how its programs' arguments are made of a batch; training sets that of each.
        plate: the plate over datapoints, if it is known.
        shared: what all datapoints share.
        unrolled: take the sites of a loop over a plate for sites of their own.
        measured: the guide as it is measured, if that is another than the pair's.
        apart: takes automatic guides apart that draw the latents of all datapoints together.
    """

    pair: Pair
    form: Form
    plate: DataPlate | None = None
    shared: Shared = field(default_factory=Shared)
    unrolled: bool = True
    measured: Program | None = None
    apart: DatapointsApart | None = None

    @property
    def rows_at_once(self) -> int | None:
        """The number of datapoints at each run, where the programs allow no other."""
        return None if self.plate is None else self.plate.chosen

    def model(self, *batch: Tensor) -> Any:
        """Run the model."""
        name = None if self.plate is None else self.plate.model
        return self._run(self.pair.model, name, self.shared.of_model, batch)

    def guide(self, *batch: Tensor) -> Any:
        """Run the guide."""
        name = None if self.plate is None else self.plate.guide
        return self._run(self.measured or self.pair.guide, name, self.shared.of_guide, batch)

    def _run(
        self, program: Program, plate: str | None, left_out: frozenset[str], batch: Batch
    ) -> Any:
        arguments, keywords = self.form.filled(batch)
        if self.plate is None:
            with Sizes():
                return program(*arguments, **keywords)
        rows, given = len(batch[0]), self.shared.given
        chosen, index = self.plate.chosen, None
        if chosen is not None:
            index = batch[0]
            if rows != chosen:
                raise Unsupported(
                    f"the program picks {chosen} datapoints itself at each run and cannot be run "
                    f"on {rows}; `evidence`, `weights`, `pareto_k` and `active_units` run it on "
                    "some after the others"
                )
        conventions = Conventions(
            plate, self.plate.dim, rows, index, given, left_out, self.unrolled
        )
        with conventions, self.apart or nullcontext():
            return program(*arguments, **keywords)
