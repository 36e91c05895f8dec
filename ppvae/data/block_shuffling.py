"""How well blocks of consecutive rows are mixed by a buffer."""

import math
from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class BlockShuffling:
    """How well an epoch mixes rows that are read in blocks.

    The n rows are cut into B = n / m blocks of m consecutive rows. The blocks are read in random
    order, b of them at a time fill a buffer, and minibatches of s rows are drawn from the b m rows
    of the buffer without replacement until it is empty. Every row comes once an epoch, and every
    order of the blocks is equally probable. Of two rows, the probability to be in one minibatch is

        (s - 1) / (b m - 1)                        if they are of one block,
        (b - 1) / (B - 1) (s - 1) / (b m - 1)      if they are not,

    where full shuffling has (s - 1) / (n - 1) for both. If the share r of a number's variance is
    between blocks (r is near 1 for sorted rows, and about 1 / m for rows in random order), the
    mean of a minibatch has a variance that is larger than under full shuffling by the factor

        (v + (1 - v) (b m - s) / (s (b m - 1))) / ((n - s) / (s (n - 1))),
        v = r / b (B - b) / (B - 1),

    which is about 1 + r s / b: b must be several times s, or r small. With a single buffer for all
    rows (b = B) the order is that of full shuffling. Sampling theory calls this cluster sampling
    (Cochran, "Sampling Techniques", 1977, chapter 9).

    Args:
        rows: n, the number of rows.
        block: m, the rows of a block.
        buffered: b m, the rows of the buffer.

    Example:
        >>> shuffling = BlockShuffling(rows=1_000_000, block=200, buffered=102_400)
        >>> shuffling.blocks, shuffling.blocks_at_once
        (5000, 512)
        >>> round(shuffling.relative_deviation(batch_size=128), 2)
        1.11
    """

    rows: int
    block: int
    buffered: int

    def __post_init__(self) -> None:
        if not 1 <= self.block <= self.buffered:
            raise ValueError(
                f"a block of {self.block} rows does not fit into a buffer of {self.buffered}"
            )

    @property
    def full(self) -> bool:
        """Whether the buffer holds all rows, so that every order is equally probable."""
        return self.buffered >= self.rows

    @property
    def blocks(self) -> int:
        """B, the number of blocks."""
        return math.ceil(self.rows / self.block)

    @property
    def blocks_at_once(self) -> int:
        """b, the number of blocks in the buffer."""
        return self.blocks if self.full else self.buffered // self.block

    def together(self, batch_size: int, *, same_block: bool) -> float:
        """Return the probability that two rows are in one minibatch.

        Args:
            batch_size: s, the rows of a minibatch.
            same_block: whether the two are of one block.
        """
        if self.full:
            return (batch_size - 1) / (self.rows - 1)
        within = min(1.0, (batch_size - 1) / (self.blocks_at_once * self.block - 1))
        share = 1.0 if same_block else (self.blocks_at_once - 1) / (self.blocks - 1)
        return share * within

    def relative_deviation(self, batch_size: int, between: float = 1.0) -> float:
        """Return the standard deviation of a minibatch's mean, relative to full shuffling.

        Args:
            batch_size: s, the rows of a minibatch.
            between: r, the share of the variance that is between blocks.
        """
        if self.full:
            return 1.0
        buffered = self.blocks_at_once * self.block
        size = min(batch_size, buffered)
        of_buffer = between / self.blocks_at_once
        of_buffer *= (self.blocks - self.blocks_at_once) / (self.blocks - 1)
        here = of_buffer + (1 - of_buffer) * (buffered - size) / (size * (buffered - 1))
        return math.sqrt(here / ((self.rows - size) / (size * (self.rows - 1))))
