"""A KL term that is not penalized below a floor."""

import math
from typing import Any

import torch
from pyro.infer import Trace_ELBO
from pyro.util import warn_if_nan
from torch import Tensor

from ppvae.inference.objectives.backward import add_gradients
from ppvae.inference.objectives.latents import (
    Latent,
    by_row,
    check_plate,
    datapoint_counts,
    factors_of_both,
    latents_of,
    log_likelihood,
    weighted_kl,
)


class FreeBits_ELBO(Trace_ELBO):  # type: ignore[misc]
    """The ELBO whose KL is never counted below `nats`, so that using a latent a little is free.

        E_Q[log P(X|z)] - N sum_sites max(nats, mean_n KL[q(z|x_n) || p(z)])

    with N the datapoints that the batch stands for; with `per_dimension` the sum is over every
    dimension of every site (Kingma, Salimans, Jozefowicz, Chen, Sutskever and Welling, "Improved
    Variational Inference with Inverse Autoregressive Flow", 2016). Below its floor a KL has no
    gradient, so that the latent stays in use while the decoder learns to use it.

    The KL is in closed form where there is one and guide and model draw several latents in the
    same order, log q(z|x) - log p(z) elsewhere; where no floor is active, value and gradient are
    so those of `TraceMeanField_ELBO` or `Trace_ELBO`. In another order only the sum over sites is
    a KL; a site's own term, which has the floor, may be negative. Particles are averaged before
    the maximum.

    A weight of the latent sites, `fit`'s `kl_weight` or a `poutine.scale` of one's own, is outside
    of the maximum, weight max(nats, KL): however small the weight, the floor lies at as many nats
    of the KL itself. Rows of which all of a site is masked are left out of its mean. Latents that
    all datapoints share have no floor. `loss`, with which SVI and `fit` evaluate, is that of
    `Trace_ELBO`: the negative ELBO without floors.

    Args:
        nats: the floor per datapoint, of each site or of each dimension; 0 is none.
        per_dimension: whether each dimension has a floor of its own; then q and p of every site
            in the data plate must be independent over dimensions.
        num_particles: draws that estimate the expectation.
        max_plate_nesting: as in Pyro's ELBOs.
        vectorize_particles: as in Pyro's ELBOs.

    Raises:
        ValueError: if `nats` is negative or not finite.
        Unsupported: at the first step, if the pair has no such KL; the message names the site.

    Example:
        >>> import ppvae
        >>> from ppvae import data, inference, pairs
        >>> digits = data.digits()
        >>> objective = inference.FreeBits_ELBO(0.5, per_dimension=True)
        >>> pair = pairs.assemble(digits, latent=2)
        >>> ppvae.fit(pair, digits, steps=5, objective=objective).steps
        5
    """

    def __init__(
        self,
        nats: float,
        per_dimension: bool = False,
        *,
        num_particles: int = 1,
        max_plate_nesting: float = math.inf,
        vectorize_particles: bool = False,
    ) -> None:
        if not 0 <= nats < math.inf:
            raise ValueError(f"FreeBits_ELBO needs a finite nats of at least 0, got {nats}")
        super().__init__(
            num_particles=num_particles,
            max_plate_nesting=max_plate_nesting,
            vectorize_particles=vectorize_particles,
        )
        self.nats = nats
        self.per_dimension = per_dimension

    def differentiable_loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Return the loss with floors, in nats, with its gradient."""
        loss: Any = 0.0
        costs: dict[str, list[tuple[Tensor, Tensor]]] = {}
        for model_trace, guide_trace in self._get_traces(model, guide, args, kwargs):
            loss = loss - log_likelihood(model_trace) / self.num_particles
            for latent in latents_of("FreeBits_ELBO", guide_trace, model_trace):
                costs.setdefault(latent.name, []).append(self._costs(latent))
        for particles in costs.values():
            kls, floors = zip(*particles, strict=True)
            kl = torch.cat(kls).sum(0) / self.num_particles
            floor = torch.cat(floors).sum(0) / self.num_particles
            loss = loss + torch.where(kl < floor, floor, kl).sum()
        warn_if_nan(loss, "loss")
        total: Tensor = loss
        return total

    def loss_and_grads(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """Return the loss with floors, in nats, and add its gradients to the parameters'."""
        return add_gradients(self.differentiable_loss(model, guide, *args, **kwargs))

    def _costs(self, latent: Latent) -> tuple[Tensor, Tensor]:
        """Return the KL of all datapoints together, and its floor: `(particle, column)` each."""
        if latent.is_global:
            return _without_floor(weighted_kl(latent).sum().reshape(1, 1))
        check_plate("FreeBits_ELBO", latent)
        if self.per_dimension:
            kl = weighted_kl(latent, factors_of_both("FreeBits_ELBO(per_dimension=True)", latent))
            columns = by_row(kl, latent.guide, latent.guide["fn"].event_dim)
            counted = datapoint_counts(latent.guide)
            each = columns.shape[-1] // counted.shape[-1]
            counted = counted.repeat_interleave(each, -1)
        else:
            columns = by_row(weighted_kl(latent), latent.guide).sum(-1, keepdim=True)
            counted = datapoint_counts(latent.guide).amax(-1, keepdim=True)
        # A KL is not negative, but its estimate from draws may be: a floor of 0 would bias it.
        if self.nats == 0:
            return _without_floor(columns.sum(1))
        return columns.sum(1), self.nats * counted.sum(1)


def _without_floor(kl: Tensor) -> tuple[Tensor, Tensor]:
    return kl, torch.full_like(kl, -math.inf)
