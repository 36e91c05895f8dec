"""Base class of the distributions of this room."""

from typing import Any, Self

import pyro.distributions as dist


class Expandable(dist.TorchDistribution):  # type: ignore[misc]
    """A distribution whose only arguments are the tensors named in `arg_constraints`.

    `expand`, which Pyro's plates call, expands these tensors.
    """

    has_rsample = True

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        """Return the distribution expanded to a batch shape."""
        repeated = {
            name: getattr(self, name).expand(*batch_shape, *[-1] * constraint.event_dim)
            for name, constraint in self.arg_constraints.items()
        }
        new = type(self)(**repeated, validate_args=False)
        new._validate_args = self._validate_args  # the parameters have been checked already
        return new
