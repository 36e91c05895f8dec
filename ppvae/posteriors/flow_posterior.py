"""A posterior of any shape."""

from collections.abc import Sequence

import pyro.distributions as dist
from torch import Tensor, nn

from ppvae.distributions import positive, steady
from ppvae.distributions.flows import Chain, Constructor, InverseAutoregressive, Reversal
from ppvae.posteriors.posterior import Posterior


class FlowPosterior(Posterior):
    """A diagonal normal under learned transforms: z = f_n(... f_1(e; c); c).

        log q(z|x) = log N(e; loc(x), diag(scale(x))^2) - sum_i log |det df_i|

    The network's last dimension holds `loc`, the raw scale, `scale = log(1 + exp(raw))`, and the
    context c(x), side by side. With a context the transforms depend on x, as in Kingma et al.,
    "Improved variational inference with inverse autoregressive flow", 2016; without a context
    they are the same for all x, as in Rezende and Mohamed, "Variational inference with normalizing
    flows", 2015.

    Draws are scored while they are drawn. To score other values, the transforms need inverses;
    without them (planar, radial) `log_prob` raises an error, and diagnostics draw one by one,
    which is slower. Mean and KL have no closed form. A pair is rebuilt by `load` if its transforms
    are classes of `ppvae.distributions.flows`; with others pass `load(folder, pair=mine)`.

    Shapes: the network maps `(*, features)` to `(*, 2 * latent + context)`.

    Args:
        network: module from data to `loc`, raw scale and context.
        latent: number of latent dimensions.
        transforms: each called with `latent`, to make a transform, such as
            `pyro.distributions.transforms.planar`; or, where there is a context, with `latent` and
            `context`, such as `conditional_planar`. With none it is the diagonal normal.
        context: number of the network's outputs that are passed to the transforms.

    Raises:
        ValueError: if `latent` is not positive or `context` negative, or the network's output has
            another size.
        TypeError: if a constructor does not return a transform, or hides its parameters.

    Example:
        >>> import torch
        >>> posterior = FlowPosterior(torch.nn.Linear(4, 6 + 8), latent=3, context=8)
        >>> posterior(torch.zeros(8, 4)).sample().shape
        torch.Size([8, 3])
    """

    def __init__(
        self,
        network: nn.Module,
        latent: int,
        transforms: Sequence[Constructor] = (
            InverseAutoregressive,
            Reversal,
            InverseAutoregressive,
        ),
        context: int = 0,
    ) -> None:
        super().__init__(network)
        if latent < 1 or context < 0:
            raise ValueError(
                f"FlowPosterior needs latent >= 1 and context >= 0, got {latent} and {context}"
            )
        self.latent, self.transforms, self.context = latent, tuple(transforms), context
        self.chain = Chain(self.transforms, latent, *([context] if context else []))

    def outputs_for(self, latent: int) -> int:
        """Return 2 latent + context.

        Raises:
            ValueError: if it was made for another `latent`.
        """
        if latent != self.latent:
            raise ValueError(
                f"FlowPosterior was made for latent={self.latent}, but is asked for {latent}; "
                f"pass latent={latent} to it"
            )
        return 2 * latent + self.context

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return q(z|x) over `(latent,)` for every leading index of `conditions`."""
        output = steady(self.network(*conditions))
        if output.shape[-1] != self.outputs_for(self.latent):
            raise ValueError(
                "FlowPosterior needs a network of 2 * latent + context outputs, here "
                f"{self.outputs_for(self.latent)}, got output of shape {tuple(output.shape)}"
            )
        loc, raw, context = output.split([self.latent, self.latent, self.context], -1)
        return self.chain(dist.Normal(loc, positive(raw)).to_event(1), context)
