"""A transform of one half of the features that depends on the other half."""

from collections.abc import Sequence

from pyro.distributions.transforms import ConditionalAffineCoupling
from pyro.nn import ConditionalDenseNN

from ppvae.distributions.flows.start import start_close_to_identity


class AffineCoupling(ConditionalAffineCoupling):  # type: ignore[misc]
    """The affine coupling y_1 = x_1, y_2 = loc(x_1, c) + exp(s(x_1, c)) x_2.

    x_1 is the first half of the features, c the context, `loc` and `s` come from a network;
    log |det| = sum s, and the inverse is as cheap (Dinh, Sohl-Dickstein and Bengio, "Density
    estimation using Real NVP", 2017). It starts close to the identity.
    Put a `Reversal` between two couplings, so that both halves are transformed.

    Args:
        features: number of features, at least 2.
        context: number of features of the context; 0 for none.
        hidden: sizes of the network's hidden layers.

    Raises:
        ValueError: if there is a single feature, a size is not positive or `context` is negative.

    Example:
        >>> import torch
        >>> coupling = AffineCoupling(4).condition(torch.zeros(0))
        >>> coupling(torch.ones(4))[:2].detach()
        tensor([1., 1.])
    """

    def __init__(self, features: int, context: int = 0, hidden: Sequence[int] = (64,)) -> None:
        hidden = tuple(hidden)
        if features < 2 or context < 0 or not hidden or min(hidden) < 1:
            raise ValueError(
                "AffineCoupling needs features >= 2, context >= 0 and positive hidden sizes, got "
                f"{features}, {context} and {list(hidden)}; "
                "pyro.distributions.transforms.spline bends a single feature"
            )
        kept = features // 2
        moved = features - kept
        super().__init__(kept, ConditionalDenseNN(kept, context, hidden, [moved, moved]))
        start_close_to_identity(self.nn)
        self.features, self.context, self.hidden = features, context, hidden
