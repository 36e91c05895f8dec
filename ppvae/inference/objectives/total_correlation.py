"""An ELBO with a weight on each part of its KL term, so that latents become independent."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from pyro.infer import Trace_ELBO
from pyro.infer.util import torch_item
from pyro.poutine import Trace
from torch import Tensor

from ppvae.engine import PLATE, plates
from ppvae.inference.objectives.latents import (
    Latent,
    by_row,
    datapoint_counts,
    factors_of_both,
    log_likelihood,
    only_latent,
)


@dataclass(frozen=True)
class Decomposition:
    """The KL term in its parts, in nats per datapoint.

    Args:
        mutual_information: I(z; x), at most log N.
        total_correlation: KL[q(z) || prod_i q(z_i)].
        dimension_wise: sum_i KL[q(z_i) || p(z_i)].
    """

    mutual_information: float
    total_correlation: float
    dimension_wise: float

    @property
    def kl(self) -> float:
        """Their sum, KL[q(z|x) || p(z)] averaged over the rows."""
        return self.mutual_information + self.total_correlation + self.dimension_wise


class TotalCorrelation_ELBO(Trace_ELBO):  # type: ignore[misc]
    """The ELBO with a weight on each part of its KL term, beta-TCVAE.

        E_Q[log P(X|z)] - N (mutual_information I(z; x) + beta KL[q(z) || prod_i q(z_i)]
                             + dimension_wise sum_i KL[q(z_i) || p(z_i)])

    with q(z) the mean of q(z|x) over the `size` datapoints of training, and N the datapoints that
    the batch stands for (Chen, Li, Grosse and Duvenaud, "Isolating Sources of Disentanglement in
    Variational Autoencoders", 2018). With all weights 1 it is Trace_ELBO, draw by draw.

    log q(z) and log q(z_i) at each row's draw are estimated by minibatch-stratified sampling (the
    paper's appendix C.2): the row itself counts 1 / size, each other row of the batch the same
    part of the rest, which is the paper's estimator averaged over the order of the rows. It has no
    bias as a density, and is exact where the batch is all the data. Its logarithm is too low on
    average (Jensen), the more so the fewer rows there are and the less they overlap. So I(z; x) is
    estimated too high, though never above log size, and the dimension-wise KL too low; the total
    correlation takes the difference of the joint's error and the dimensions', and may be off
    either way. Time and memory grow with rows^2 d.

    A weight of the latent site, `fit`'s `kl_weight` or a `poutine.scale` of one's own, multiplies
    all three parts. `loss`, with which SVI and `fit` evaluate, is that of `Trace_ELBO`: the plain
    negative ELBO. The dimension-wise part is a KL if p(z) is the same for all datapoints.

    Args:
        size: number of training datapoints.
        beta: weight of the total correlation.
        mutual_information: weight of I(z; x).
        dimension_wise: weight of the dimensions' KL.
        num_particles: draws that estimate the expectation.
        max_plate_nesting: as in Pyro's ELBOs.
        vectorize_particles: as in Pyro's ELBOs.

    Raises:
        ValueError: if `size` is below 2, or a weight negative or not finite; at the first step, if
            a batch has more than `size` rows.
        Unsupported: at the first step, if the pair has not one reparameterized latent site in the
            data plate, with q and p independent over dimensions, or a batch has one row.

    Example:
        >>> import ppvae
        >>> from ppvae import data, inference, pairs
        >>> digits = data.digits()
        >>> objective = inference.TotalCorrelation_ELBO(size=len(digits.train), beta=6.0)
        >>> pair = pairs.assemble(digits, latent=2)
        >>> ppvae.fit(pair, digits, steps=5, objective=objective).steps
        5
        >>> parts = objective.decompose(pair.model, pair.guide, digits.train[:100])
        >>> 0 < parts.mutual_information < math.log(len(digits.train))
        True
    """

    def __init__(
        self,
        size: int,
        beta: float,
        *,
        mutual_information: float = 1.0,
        dimension_wise: float = 1.0,
        num_particles: int = 1,
        max_plate_nesting: float = math.inf,
        vectorize_particles: bool = False,
    ) -> None:
        if size < 2:
            raise ValueError(f"TotalCorrelation_ELBO needs a size of at least 2, got {size}")
        weights = {
            "beta": beta,
            "mutual_information": mutual_information,
            "dimension_wise": dimension_wise,
        }
        for name, value in weights.items():
            if not 0 <= value < math.inf:
                raise ValueError(
                    f"TotalCorrelation_ELBO needs a finite {name} of at least 0, got {value}"
                )
        super().__init__(
            num_particles=num_particles,
            max_plate_nesting=max_plate_nesting,
            vectorize_particles=vectorize_particles,
        )
        self.size = size
        self.beta = beta
        self.mutual_information = mutual_information
        self.dimension_wise = dimension_wise

    @torch.no_grad()
    def decompose(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Decomposition:
        """Estimate the parts of the KL from new draws of a batch, which the weights do not change.

        They have the bias that the objective has; `diagnostics.surgery` takes all the data.
        """
        totals = torch.zeros(3, dtype=torch.double)
        for model_trace, guide_trace in self._get_traces(model, guide, args, kwargs):
            latent = self._latent(guide_trace, model_trace)
            own, joint, each = self._densities(latent)
            prior = by_row(latent.model["unscaled_log_prob"], latent.model).sum(-1)
            parts = [own - joint, joint - each, each - prior]
            means = [part.mean(1).sum(0).double().cpu() for part in parts]
            totals += torch.stack(means) / self.num_particles
        return Decomposition(*totals.tolist())

    def _differentiable_loss_particle(
        self, model_trace: Trace, guide_trace: Trace
    ) -> tuple[Any, Tensor]:
        latent = self._latent(guide_trace, model_trace)
        own, joint, each = self._densities(latent)
        # The three parts, by density: what cancels does so exactly, and log p has its own scale.
        weighted = (
            self.mutual_information * own
            + (self.beta - self.mutual_information) * joint
            + (self.dimension_wise - self.beta) * each
        )
        cost = (datapoint_counts(latent.guide).amax(-1) * weighted).sum()
        log_prior = latent.model["log_prob_sum"]
        loss = cost - self.dimension_wise * log_prior - log_likelihood(model_trace)
        return torch_item(loss), loss

    def _latent(self, guide_trace: Trace, model_trace: Trace) -> Latent:
        latent = only_latent("TotalCorrelation_ELBO", guide_trace, model_trace)
        rows = next(frame.size for frame in plates(latent.guide) if frame.name == PLATE)
        if rows > self.size:
            raise ValueError(
                f"TotalCorrelation_ELBO(size={self.size}) got a batch of {rows} rows; pass the "
                "number of training datapoints as size"
            )
        return latent

    def _densities(self, latent: Latent) -> tuple[Tensor, Tensor, Tensor]:
        """Return log q(z|x), log q(z) and sum_i log q(z_i) of each draw, `(particle, data)`."""
        scores = _scores(latent)
        own = scores.diagonal(dim1=1, dim2=2).sum(1)
        joint = aggregate_log_density(scores.sum(-1, keepdim=True), self.size).squeeze(-1)
        return own, joint, aggregate_log_density(scores, self.size).sum(-1)


def aggregate_log_density(scores: Tensor, size: int) -> Tensor:
    """Estimate log q(z) of draws from the rows of a minibatch, `(*, draw, column)`, in nats.

        q(z) = q(z|x) / size + (size - 1) / size mean over the other rows of q(z|x')

    Args:
        scores: log q(z|x') of each row's draw at every row, `(*, draw, row, column)`.
        size: number of datapoints of which the rows are a random part.
    """
    rows = scores.shape[-2]
    others = math.log((size - 1) / (size * (rows - 1)))
    own = torch.eye(rows, dtype=torch.bool, device=scores.device).unsqueeze(-1)
    weighted = torch.where(own, scores - math.log(size), scores + others)
    return weighted.logsumexp(-2)


def _scores(latent: Latent) -> Tensor:
    """Return log q(z_i|x) of each row's draw at every row: `(particle, draw, row, column)`."""
    site = latent.guide
    factors, _ = factors_of_both("TotalCorrelation_ELBO", latent)
    event_dim = site["fn"].event_dim
    dim = next(frame.dim for frame in plates(site) if frame.name == PLATE) - event_dim
    # The draws' rows go left of everything; a 1 in their old place meets every distribution.
    draws = site["value"].movedim(dim, 0).unsqueeze(dim)
    scores = factors.log_prob(draws).movedim(0, -1)
    columns: Tensor = by_row(scores, site, event_dim + 1).unflatten(-1, (-1, len(draws)))
    return columns.permute(0, 3, 1, 2)
