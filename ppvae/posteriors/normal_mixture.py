"""A posterior with several modes."""

import pyro.distributions as dist
from torch import Tensor, nn

from ppvae.distributions import DiagonalNormalMixture, positive, steady
from ppvae.posteriors.posterior import Posterior


class NormalMixture(Posterior):
    """The posterior q(z|x) = sum_k w_k(x) N(z; loc_k(x), diag(scale_k(x))^2).

    The network's last dimension holds the logits of w, all `loc`, component by component, and as
    many raw scales, `scale = log(1 + exp(raw))`. Draws are differentiable in all of them (see
    `distributions.DiagonalNormalMixture`; Graves, "Stochastic backpropagation through mixture
    density distributions", 2016). With one component it is `DiagonalNormal`.

    Shapes: the network maps `(*, features)` to `(*, components * (2 * latent + 1))`.

    Args:
        network: module from data to logits, `loc` and raw scales.
        components: number of normals.

    Raises:
        ValueError: if `components` is not positive, or the network's output cannot be split so.

    Example:
        >>> import torch
        >>> posterior = NormalMixture(nn.Linear(4, 2 * (2 * 3 + 1)), components=2)
        >>> posterior(torch.zeros(8, 4)).event_shape
        torch.Size([3])
    """

    def __init__(self, network: nn.Module, components: int = 2) -> None:
        super().__init__(network)
        if components < 1:
            raise ValueError(f"NormalMixture needs components >= 1, got {components}")
        self.components = components

    def outputs_for(self, latent: int) -> int:
        """Return components (2 latent + 1)."""
        return self.components * (2 * latent + 1)

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return q(z|x) over `(latent,)` for every leading index of `conditions`."""
        output = steady(self.network(*conditions))
        latent = (output.shape[-1] // self.components - 1) // 2
        if latent < 1 or output.shape[-1] != self.outputs_for(latent):
            raise ValueError(
                f"NormalMixture needs a network of {self.components} * (2 * latent + 1) outputs, "
                f"got output of shape {tuple(output.shape)}"
            )
        size = self.components * latent
        logits, *flat = output.split([self.components, size, size], -1)
        loc, raw = (part.unflatten(-1, (self.components, latent)) for part in flat)
        return DiagonalNormalMixture(logits, loc, positive(raw))
