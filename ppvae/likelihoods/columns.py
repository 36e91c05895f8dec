"""Tables whose columns are of different kinds, and of which cells may be missing."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.likelihoods.likelihood import Likelihood

_ONE = torch.Size()


class _SideBySide(dist.TorchDistribution):  # type: ignore[misc]
    """Distributions one after the other along the last dimension.

    Args:
        parts: distributions of single cells, whose last batch dimension is that of the columns,
            or of vectors.
        constraint: the supports of the columns.
        event_dim: 0 for cells, 1 for vectors.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(
        self,
        parts: Sequence[dist.Distribution],
        constraint: constraints.Constraint,
        event_dim: int,
    ) -> None:
        self.parts, self.constraint, self.event = tuple(parts), constraint, event_dim
        self.sizes = [(part.batch_shape + part.event_shape)[-1] for part in parts]
        leading, size = (parts[0].batch_shape + parts[0].event_shape)[:-1], sum(self.sizes)
        shapes = (leading, [size]) if event_dim else ([*leading, size], [])
        super().__init__(*map(torch.Size, shapes))

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(self.constraint, self.event)

    @property
    def mean(self) -> Tensor:
        return torch.cat([part.mean for part in self.parts], -1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "_SideBySide":
        shapes = [batch_shape if self.event else (*batch_shape[:-1], size) for size in self.sizes]
        parts = [part.expand(shape) for part, shape in zip(self.parts, shapes, strict=True)]
        return _SideBySide(parts, self.constraint, self.event)

    def sample(self, sample_shape: Any = _ONE) -> Tensor:
        return torch.cat([part.sample(sample_shape) for part in self.parts], -1)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        values = value.split(self.sizes, -1)
        scores = [part.log_prob(v) for part, v in zip(self.parts, values, strict=True)]
        return torch.stack(scores).sum(0) if self.event else torch.cat(scores, -1)


class Columns(Likelihood):
    """A table: p(x|z) is a product over groups of neighboring columns, each with its own family.

    Where cells may be missing, the last condition says which are known; the product is over
    these: log p(x|z) = sum of log p(x_j|z) over known j. This is the density of what was seen if
    a cell's being missing does not depend on its value (Rubin, "Inference and missing data",
    1976).

    Shapes: the network maps `(*, latent)` to all outputs of the first group, then the second, and
    so on; `outputs_for(features)` returns the total number. Known cells are `(*, features)`, 1
    or 0.

    Args:
        network: module from latent to the parameters of all groups.
        groups: for each group, from left to right, its number of columns and its family, called
            with a network.
        masked: whether the last condition says which cells are known.

    Raises:
        ValueError: if there are no groups or one has no columns; when called, if cells may be
            missing and are those of a family that does not take its columns one by one.

    Example:
        >>> from ppvae.likelihoods import Bernoulli, Normal
        >>> groups = [(3, Normal), (2, Bernoulli)]  # three lengths, two answers yes or no
        >>> table = Columns(nn.Linear(2, 3 * 2 + 2), groups)(torch.zeros(2))
        >>> table.event_shape
        torch.Size([5])
    """

    def __init__(
        self,
        network: nn.Module,
        groups: Sequence[tuple[int, Callable[[nn.Module], Likelihood]]],
        masked: bool = False,
    ) -> None:
        super().__init__(network, event_dim=1)
        self.groups = [(size, family) for size, family in groups]
        self.masked = masked
        self.sizes = [size for size, _ in self.groups]
        if not self.sizes or min(self.sizes) < 1:
            raise ValueError(f"Columns needs groups of at least 1 column, got sizes {self.sizes}")
        self.families = nn.ModuleList(family(nn.Identity()) for _, family in self.groups)

    def outputs_for(self, features: int) -> int:
        """Return how many network outputs all groups need together."""
        if features != sum(self.sizes):
            raise ValueError(
                f"Columns of sizes {self.sizes} do not fit data of {features} columns"
            )
        return sum(self._outputs)

    def _each(self) -> Iterator[tuple[Likelihood, int]]:
        for family, size in zip(self.families, self.sizes, strict=True):
            assert isinstance(family, Likelihood)
            yield family, size

    @property
    def _outputs(self) -> list[int]:
        return [family.outputs_for(size) for family, size in self._each()]

    @property
    def support(self) -> constraints.Constraint:
        """For each column, the support of its family."""
        return constraints.cat([family.support for family, _ in self._each()], -1, self.sizes)

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(x|z) over one row of the table."""
        seen = None
        if self.masked:
            *conditions_left, seen = conditions
            conditions = tuple(conditions_left)
        outputs = self.network(*conditions).split(self._outputs, -1)
        parts = [family(part) for (family, _), part in zip(self._each(), outputs, strict=True)]
        cells = [_cells(part) for part in parts]
        if None in cells:
            if seen is not None:
                name = type(self.families[cells.index(None)]).__name__
                raise ValueError(
                    f"Columns with missing cells needs families of single columns, {name} is one "
                    "of whole vectors; fill in the missing cells"
                )
            return _SideBySide(parts, self.support, 1)
        table = _SideBySide(cells, self.support, 0)
        return (table if seen is None else table.mask(seen > 0)).to_event(1)


def _cells(vector: dist.Distribution) -> dist.Distribution | None:
    """Return the distribution of each feature of a vector, if they are independent."""
    independent = isinstance(vector, dist.Independent)
    if not independent or vector.base_dist.event_shape or vector.event_dim != 1:
        return None
    return vector.base_dist
