"""An ELBO that also moves the aggregate posterior towards the prior, by a kernel."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from pyro.infer import Trace_ELBO
from pyro.infer.util import torch_item
from pyro.poutine import Trace
from torch import Tensor

from ppvae.inference.objectives.latents import (
    Latent,
    by_row,
    datapoint_counts,
    log_likelihood,
    only_latent,
    weighted_kl,
)

Kernel: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Compares all rows: `(*, n, d)` and `(*, m, d)` to `(*, n, m)`."""


class InverseMultiquadratics:
    """A sum of inverse multiquadratic kernels over several widths.

        k(x, y) = sum_s C_s / (C_s + |x - y|^2),    C_s = 2 s d variance

    with d the number of dimensions: 2 d variance is the mean of |x - y|^2 under a prior of that
    variance. Its tails are heavy, so that draws far outside the prior still have a gradient
    (Tolstikhin, Bousquet, Gelly and Schölkopf, "Wasserstein Auto-Encoders", 2018).

    Args:
        variance: of the prior, in each dimension.
        scales: the widths s.

    Raises:
        ValueError: if one of them is not positive and finite, or there is no scale.

    Example:
        >>> import torch
        >>> kernel = InverseMultiquadratics(scales=[1.0])
        >>> kernel(torch.zeros(1, 2), torch.tensor([[0.0, 0.0], [2.0, 0.0]]))
        tensor([[1.0000, 0.5000]])
    """

    def __init__(
        self,
        variance: float = 1.0,
        scales: Sequence[float] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
    ) -> None:
        if not all(0 < number < math.inf for number in (variance, *scales)) or not scales:
            raise ValueError(
                "InverseMultiquadratics needs a positive, finite variance and scales, got "
                f"{variance} and {list(scales)}"
            )
        self.variance = variance
        self.scales = tuple(scales)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Return k of all rows of `x` `(*, n, d)` and `y` `(*, m, d)`: `(*, n, m)`."""
        squares = (x.unsqueeze(-2) - y.unsqueeze(-3)).square().sum(-1)
        widths = [2 * scale * x.shape[-1] * self.variance for scale in self.scales]
        total = squares.new_zeros(())
        for width in widths:
            total = total + width / (width + squares)
        return total


class MaximumMeanDiscrepancy_ELBO(Trace_ELBO):  # type: ignore[misc]
    """The ELBO with a weight on its KL, less the discrepancy of aggregate posterior and prior.

        E_Q[log P(X|z)] - kl_weight KL[Q(z|X) || P(z)] - N weight MMD^2(q(z), p(z))

        MMD^2 = E k(z, z') + E k(y, y') - 2 E k(z, y),    z, z' from q(z), y, y' from p(z)

    with N the datapoints that the batch stands for and q(z) the mean of q(z|x) over the data. It
    is InfoVAE with kl_weight = 1 - alpha and weight = alpha + lambda - 1 (Zhao, Song and Ermon,
    "InfoVAE: Balancing Learning and Inference in Variational Autoencoders", 2019), and with
    kl_weight = 0 the Wasserstein autoencoder WAE-MMD (Tolstikhin, Bousquet, Gelly and Schölkopf,
    "Wasserstein Auto-Encoders", 2018). Unlike the KL, it lets each q(z|x) depend on its x.

    MMD^2 is estimated from the batch's draws and as many of the prior, over pairs of different
    rows alone: without bias, so that it may be negative (Gretton, Borgwardt, Rasch,
    Schölkopf and Smola, "A Kernel Two-Sample Test", 2012, equation 3). Near q(z) = p(z) its
    standard deviation falls as one over the rows. The draws of the prior are those of the model's
    latent site, one for each row; a prior that is not reparameterized learns from the KL alone.
    Time and memory of the default kernel grow with rows^2 d.

    The KL is in closed form where there is one. A weight of the latent site, `fit`'s `kl_weight`
    or a `poutine.scale` of one's own, multiplies KL and MMD^2 alike. `loss`, with which SVI and
    `fit` evaluate, is that of `Trace_ELBO`: the plain negative ELBO.

    Args:
        weight: of MMD^2 per datapoint, in nats per unit of the kernel.
        kl_weight: of the KL.
        kernel: a symmetric, positive definite kernel of latents as rows of numbers, `(*, n, d)`
            and `(*, m, d)` to `(*, n, m)`; `InverseMultiquadratics()`, made for a prior of
            variance 1, unless given.
        num_particles: draws that estimate the expectations.
        max_plate_nesting: as in Pyro's ELBOs.
        vectorize_particles: as in Pyro's ELBOs.

    Raises:
        ValueError: if a weight is negative or not finite.
        Unsupported: at the first step, if the pair has not one reparameterized latent site in the
            data plate, or a batch has one row.

    Example:
        >>> import ppvae
        >>> from ppvae import data, inference, pairs
        >>> digits = data.digits()
        >>> objective = inference.MaximumMeanDiscrepancy_ELBO(10.0, kl_weight=0.0)
        >>> pair = pairs.assemble(digits, latent=2)
        >>> ppvae.fit(pair, digits, steps=5, objective=objective).steps
        5
    """

    def __init__(
        self,
        weight: float,
        kl_weight: float = 1.0,
        kernel: Kernel | None = None,
        *,
        num_particles: int = 1,
        max_plate_nesting: float = math.inf,
        vectorize_particles: bool = False,
    ) -> None:
        for name, value in (("weight", weight), ("kl_weight", kl_weight)):
            if not 0 <= value < math.inf:
                raise ValueError(
                    f"MaximumMeanDiscrepancy_ELBO needs a finite {name} of at least 0, got {value}"
                )
        super().__init__(
            num_particles=num_particles,
            max_plate_nesting=max_plate_nesting,
            vectorize_particles=vectorize_particles,
        )
        self.weight = weight
        self.kl_weight = kl_weight
        self.kernel = InverseMultiquadratics() if kernel is None else kernel

    def _differentiable_loss_particle(
        self, model_trace: Trace, guide_trace: Trace
    ) -> tuple[Any, Tensor]:
        latent = only_latent("MaximumMeanDiscrepancy_ELBO", guide_trace, model_trace)
        loss = -log_likelihood(model_trace)
        if self.kl_weight > 0:  # a guide of single points has no finite KL, and needs none
            loss = loss + self.kl_weight * weighted_kl(latent).sum()
        loss = loss + self.weight * self._discrepancy(latent)
        return torch_item(loss), loss

    def _discrepancy(self, latent: Latent) -> Tensor:
        """Return MMD^2 times the number of datapoints, summed over particles."""
        site, prior = latent.guide, latent.model["fn"]
        z = by_row(site["value"], site, site["fn"].event_dim)
        y = by_row(prior(), latent.model, prior.event_dim)
        within = _between_rows(self.kernel(z, z)) + _between_rows(self.kernel(y, y))
        squared = within - 2 * self.kernel(z, y).mean((-2, -1))
        datapoints = datapoint_counts(site).amax(-1).sum(-1)
        return (datapoints * squared).sum()


def _between_rows(kernel: Tensor) -> Tensor:
    """Average a kernel over pairs of different rows: `(*, n, n)` to `(*)`."""
    rows = kernel.shape[-1]
    own = kernel.diagonal(dim1=-2, dim2=-1).sum(-1)
    return (kernel.sum((-2, -1)) - own) / (rows * (rows - 1))
