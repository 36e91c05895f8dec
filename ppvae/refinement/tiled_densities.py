"""log p(x, z) as code of one shape: tiles of some draws of some datapoints."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyro
import torch
from torch import Tensor

from ppvae.engine import Batch, Pair, Sites, Structure
from ppvae.engine.compilation import (
    LOSS_TOLERANCE,
    CaptureError,
    CaptureMode,
    CompiledProgram,
    Generator,
    Quantity,
)
from ppvae.refinement.approximations import Values
from ppvae.refinement.elbo_maximization import log_joint
from ppvae.refinement.joint_densities import JointDensity
from ppvae.refinement.latent_sites import LatentSites


@dataclass(frozen=True)
class TileCode:
    """Code that computes log p(x, z), and its gradient, of tiles of one shape.

    Args:
        value: log p(x, z).
        gradient: its gradient by the latents.
        draws: of a tile.
        rows: datapoints of a tile.
    """

    value: CompiledProgram
    gradient: CompiledProgram
    draws: int
    rows: int

    @classmethod
    def of(
        cls,
        pair: Pair,
        batch: Batch,
        structure: Structure,
        sites: Sites,
        values: Values,
        generator: Generator,
    ) -> "TileCode":
        """Capture and compile both.

        Args:
            pair: the model/guide pair.
            batch: datapoints of the size of a tile.
            structure: what `structure_of` said of the pair there.
            sites: the guide's latent sites there.
            values: of each, draws of the size of a tile.
            generator: makes what runs the graphs.

        Raises:
            CaptureError: if a graph would not do what the pair does, or several threads cannot run
                it at once.
        """
        names = list(values)

        def at(tensors: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
            leaves = [tensor.detach().requires_grad_() for tensor in tensors[: len(names)]]
            given = dict(zip(names, leaves, strict=True))
            data = tuple(tensors[len(names) :])
            with pyro.validation_enabled(False):
                return log_joint(pair, data, structure, sites, given, vectorized=True), leaves

        def value(mode: CaptureMode, *tensors: Tensor) -> list[Tensor]:
            return [at(tensors)[0].detach()]

        def gradient(mode: CaptureMode, *tensors: Tensor) -> list[Tensor]:
            with torch.enable_grad():
                found, leaves = at(tensors)
                # Not the gradient of a sum: to compute that would stay in the graph.
                ones = torch.ones(found.shape, dtype=found.dtype)
                return list(torch.autograd.grad(found, leaves, ones, materialize_grads=True))

        made = []
        for program in (value, gradient):
            inputs = [*values.values(), *batch]
            one = CompiledProgram(program, inputs, generator, varying=len(names))
            if one.written or one.random:
                raise CaptureError("it changes tensors or draws random numbers")
            one.code.start()
            made.append(one)
        for one in made:
            one.code.result()
        return cls(*made, draws=len(next(iter(values.values()))), rows=len(batch[0]))


class TiledDensity(JointDensity):
    """log p(x, z) of some datapoints, tile by tile, by several threads.

    Args:
        code: of the tiles.
        batch: the datapoints.
        latents: the guide's latent sites.
        pool: its threads compute the tiles.
    """

    def __init__(
        self, code: TileCode, batch: Batch, latents: LatentSites, pool: ThreadPoolExecutor
    ) -> None:
        self.code, self.batch, self.latents, self.pool = code, batch, latents, pool
        self._of_rows: dict[bytes, list[Tensor]] = {}  # groups of datapoints, by their mask
        self._shared: dict[tuple[str, int, int], list[Tensor]] = {}

    def __call__(self, values: Values, rows: Tensor | None = None) -> Tensor:
        """Return log p(x, z), `(draw, data)`; zero for datapoints that are not asked for."""
        draws = len(next(iter(values.values())))
        found: Tensor | None = None
        for part, group, (tile,) in self._tiles("value", self.code.value, values, rows):
            if found is None:
                found = tile.new_zeros(draws, self.latents.rows)
            found[part, group] = tile[: part.stop - part.start, : len(group)]
        return torch.zeros(draws, self.latents.rows) if found is None else found

    def gradient(self, values: Values, rows: Tensor | None = None) -> dict[str, Tensor]:
        """Return its gradient; zero for datapoints that are not asked for."""
        found = {name: torch.zeros_like(value) for name, value in values.items()}
        for part, group, tiles in self._tiles("gradient", self.code.gradient, values, rows):
            for name, tile in zip(values, tiles, strict=True):
                axis = self._axis(name, tile)
                count = part.stop - part.start
                tile = tile[:count].narrow(axis, 0, len(group))
                found[name][part].index_copy_(axis, group, tile)
        return found

    def _tiles(
        self, kind: str, program: CompiledProgram, values: Values, rows: Tensor | None
    ) -> Iterator[tuple[slice, Tensor, list[Tensor]]]:
        """Yield draws, datapoints, and what the program returns for each tile."""
        draws, size = len(next(iter(values.values()))), self.code.draws
        values = {name: value.detach() for name, value in values.items()}
        tiles = []
        for index, group in enumerate(self._groups(rows)):
            shared = self._shared_of(kind, program, group, index)
            full = _filled(group, self.code.rows)
            of_group = [
                value.index_select(self._axis(name, value), full) for name, value in values.items()
            ]
            for start in range(0, draws, size):
                part = slice(start, min(start + size, draws))
                tiles.append((part, group, of_group, shared))

        def run(tile: tuple[slice, Tensor, list[Tensor], list[Tensor]]) -> list[Tensor]:
            part, _, of_group, shared = tile
            own = [_first(value[part], size).contiguous() for value in of_group]
            return program([*own, *shared])

        for tile, found in zip(tiles, self.pool.map(run, tiles), strict=True):
            yield tile[0], tile[1], found

    def _groups(self, rows: Tensor | None) -> list[Tensor]:
        """Cut the datapoints that are asked for into groups of the size of a tile."""
        if rows is None:
            rows = torch.ones(self.latents.rows, dtype=torch.bool)
        key = rows.numpy().tobytes()
        if key not in self._of_rows:
            self._of_rows.clear()
            self._shared.clear()
            self._of_rows[key] = list(rows.nonzero().squeeze(1).split(self.code.rows))
        return self._of_rows[key]

    def _shared_of(
        self, kind: str, program: CompiledProgram, group: Tensor, index: int
    ) -> list[Tensor]:
        key = (kind, index, len(group))
        if key not in self._shared:
            places = _filled(group, self.code.rows)
            self._shared[key] = program.shared([tensor[places] for tensor in self.batch])
        return self._shared[key]

    def _axis(self, name: str, values: Tensor) -> int:
        """Return the dimension of the datapoints in a site's values, draws first."""
        site = self.latents.sites[name]
        below = len(site["fn"].batch_shape) - self.latents.data_axis(name)
        return values.dim() - int(site["fn"].event_dim) - below


def agrees(tiled: TiledDensity, plain: JointDensity, values: Values) -> bool:
    """Tell whether tiles give what the pair does, up to rounding."""

    def measured(density: JointDensity) -> Callable[[], tuple[None, list[Quantity]]]:
        def run() -> tuple[None, list[Quantity]]:
            slopes: Mapping[str, Tensor] = density.gradient(values)
            value = density(values).detach()
            return None, [
                Quantity("log density", [value], tolerance=LOSS_TOLERANCE),
                *(Quantity(f"gradient of {name}", [slope]) for name, slope in slopes.items()),
            ]

        return run

    try:
        tiled.code.value.compare(measured(plain), measured(tiled))
    except CaptureError:
        return False
    return True


def _filled(group: Tensor, count: int) -> Tensor:
    """Repeat the first of some places until there are as many."""
    return torch.cat([group, group[:1].expand(count - len(group))])


def _first(values: Tensor, count: int) -> Tensor:
    """Repeat the first draw until there are as many."""
    return torch.cat([values, values[:1].expand(count - len(values), *values.shape[1:])])
