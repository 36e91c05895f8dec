"""Decides whether a search runs as code in tiles, and keeps what its chunks share."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from ppvae.engine import Batch, Pair, Structure, seeded, structure_of, warn_caller
from ppvae.engine.compilation import CaptureError, NoCode, generate, replay
from ppvae.refinement.costs import CACHED, seconds_without_code
from ppvae.refinement.joint_densities import JointDensity
from ppvae.refinement.joint_normal import JointNormal
from ppvae.refinement.own_family import OwnFamily, guide_family
from ppvae.refinement.threads import single_threaded
from ppvae.refinement.tiled_densities import TileCode, TiledDensity, agrees

COMPARED = 2
"""Draws at which every chunk's code is compared with the pair itself."""

_CAPTURED = 4.0  # seconds without code from which it pays to capture graphs and replay them
_COMPILED = 150.0  # and to compile them, which takes about ten
_REPLAYED = 4  # times larger tiles, whose operations each take as long as their Python at least


class Tiling:
    """Code for the chunks of one search, made at the first one.

    Args:
        rows: number of datapoints of all chunks.
        gradients: draws of each, of which a gradient is computed.
        values: draws of each, of which a density is computed.
        particles: draws at once.
    """

    def __init__(self, rows: int, gradients: int, values: int, particles: int) -> None:
        self.rows, self.gradients, self.values = rows, gradients, values
        self.particles = particles
        self._asked = False
        self._inside = ExitStack()
        self._code: TileCode | None = None
        self._pool: ThreadPoolExecutor | None = None

    def prepare(self, pair: Pair, chunk: Batch, structure: Structure) -> bool:
        """Make the code, where that pays and can be done; tell whether there is any.

        Args:
            pair: the model/guide pair.
            chunk: some datapoints.
            structure: what `structure_of` said of the pair.
        """
        if self._asked or any(tensor.device.type != "cpu" for tensor in chunk):
            return self._code is not None
        self._asked = True
        draws = self.rows * (self.gradients + self.values / 2)
        runs = self.gradients / self.particles * max(1, self.rows // len(chunk[0]))
        seconds = seconds_without_code(runs, draws * structure.bytes_per_draw)
        if seconds < _CAPTURED:
            return False
        threads = self._inside.enter_context(single_threaded())
        try:
            self._code = self._made(pair, chunk, structure, threads, seconds)
        except CaptureError:
            self._inside.close()
            return False
        self._pool = self._inside.enter_context(ThreadPoolExecutor(threads))
        return True

    def density(
        self, chunk: Batch, start: OwnFamily | JointNormal, plain: JointDensity
    ) -> JointDensity:
        """Return the density as code in tiles, or as it is where there is none.

        Args:
            chunk: some datapoints.
            start: a posterior of them.
            plain: the density by the pair itself.
        """
        if self._code is None or self._pool is None or not isinstance(start, OwnFamily):
            return plain
        tiled = TiledDensity(self._code, chunk, start.latents, self._pool)
        with seeded(0):
            values = start.rsample(COMPARED)
        return tiled if agrees(tiled, plain, values) else plain

    def _made(
        self, pair: Pair, chunk: Batch, structure: Structure, threads: int, seconds: float
    ) -> TileCode:
        """Return code, or graphs to replay where no code can be generated."""
        try:
            return self._of_tile(pair, chunk, structure, threads, seconds)
        except NoCode as error:
            warn_caller(f"the search runs uncompiled: {error}")
        return self._of_tile(pair, chunk, structure, threads, _CAPTURED)

    def _of_tile(
        self, pair: Pair, chunk: Batch, structure: Structure, threads: int, seconds: float
    ) -> TileCode:
        compiled = seconds >= _COMPILED
        cached = CACHED if compiled else _REPLAYED * CACHED
        draws = max(1, self.particles // 2)  # as many as a search's shortest steps take
        most = max(1, int(cached / (draws * structure.bytes_per_draw)))
        groups = -(-len(chunk[0]) // most)
        groups = -(-groups // threads) * threads
        tile = tuple(tensor[: -(-len(chunk[0]) // groups)] for tensor in chunk)
        try:
            with seeded(0):
                here = structure_of(pair, tile)
                family = guide_family(pair, tile, here)
                values = family.rsample(draws)
        except Exception as error:  # a pair may not run on fewer rows
            raise CaptureError("it does not run on fewer datapoints") from error
        generator = generate if compiled else replay
        return TileCode.of(pair, tile, here, family.latents.sites, values, generator)

    def close(self) -> None:
        """End the threads."""
        self._inside.close()


@contextmanager
def tiles_for(rows: int, *, gradients: int, values: int, particles: int) -> Iterator[Tiling]:
    """Keep code and threads for one search inside the block.

    Args:
        rows: number of datapoints.
        gradients: draws of each, of which a gradient is computed.
        values: draws of each, of which a density is computed.
        particles: draws at once.
    """
    tiles = Tiling(rows, gradients, values, particles)
    try:
        yield tiles
    finally:
        tiles.close()
