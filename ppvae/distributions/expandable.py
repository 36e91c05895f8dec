"""What the distributions of this room share."""

from typing import Any, Self

import pyro.distributions as dist


class Expandable(dist.TorchDistribution):  # type: ignore[misc]
    """A distribution that is given by the tensors which `arg_constraints` names, and nothing else.

    So it is repeated to a batch shape, as Pyro's plates ask, by repeating those.
    """

    has_rsample = True

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        """Return the same, repeated to a batch shape."""
        repeated = {
            name: getattr(self, name).expand(*batch_shape, *[-1] * constraint.event_dim)
            for name, constraint in self.arg_constraints.items()
        }
        new = type(self)(**repeated, validate_args=False)
        new._validate_args = self._validate_args  # the parameters have been checked already
        return new
