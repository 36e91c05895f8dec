"""Tables whose columns are of different kinds."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.likelihoods.likelihood import Likelihood

_ONE = torch.Size()


class _Joined(dist.TorchDistribution):  # type: ignore[misc]
    """Independent distributions over vectors, one after the other along the last dimension."""

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(
        self, parts: Sequence[dist.Distribution], constraint: constraints.Constraint
    ) -> None:
        self.parts, self.constraint = tuple(parts), constraint
        self.sizes = [part.event_shape[0] for part in parts]
        super().__init__(parts[0].batch_shape, torch.Size([sum(self.sizes)]))

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(self.constraint, 1)

    @property
    def mean(self) -> Tensor:
        return torch.cat([part.mean for part in self.parts], -1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "_Joined":
        return _Joined([part.expand(batch_shape) for part in self.parts], self.constraint)

    def sample(self, sample_shape: Any = _ONE) -> Tensor:
        return torch.cat([part.sample(sample_shape) for part in self.parts], -1)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        values = value.split(self.sizes, -1)
        scores = [part.log_prob(v) for part, v in zip(self.parts, values, strict=True)]
        return torch.stack(scores).sum(0)


class Columns(Likelihood):
    """A table: p(x|z) is a product over groups of neighboring columns, each with its own family.

    Shapes: the network maps `(*, latent)` to all outputs of the first group, then the second, and
    so on; `outputs_for(features)` returns the total number.

    Args:
        network: module from latent to the parameters of all groups.
        groups: for each group, from left to right, its number of columns and its family, called
            with a network.

    Raises:
        ValueError: if there are no groups or one has no columns.

    Example:
        >>> from ppvae.likelihoods import Bernoulli, Normal
        >>> groups = [(3, Normal), (2, Bernoulli)]  # three lengths, two answers yes or no
        >>> table = Columns(nn.Linear(2, 3 * 2 + 2), groups)(torch.zeros(2))
        >>> table.event_shape
        torch.Size([5])
    """

    def __init__(
        self, network: nn.Module, groups: Sequence[tuple[int, Callable[[nn.Module], Likelihood]]]
    ) -> None:
        super().__init__(network, event_dim=1)
        self.groups = [(size, family) for size, family in groups]
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
        outputs = self.network(*conditions).split(self._outputs, -1)
        parts = [family(part) for (family, _), part in zip(self._each(), outputs, strict=True)]
        return _Joined(parts, self.support)
