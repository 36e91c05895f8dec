"""What draws z ~ q(z|x) hold: their log densities and values."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ppvae.engine.draws.folding import of_draws, unfolded


@dataclass(frozen=True)
class Draws:
    """Log densities of draws z ~ q(z|x), in nats, `(draw, data)` each.

    Args:
        log_prior: log p(z).
        log_likelihood: log p(x|z).
        log_posterior: log q(z|x).
        log_likelihoods: log p(x_i|z) of each observed site alone.
        kl: closed-form KL[q(z|x) || p(z)] given each draw, or None without closed form.
        latents: the draws, `(draw, data, *inner plates, *event)`, by site.
        predicted: x ~ p(x|z) at these draws, by observed site, shaped as `latents`; empty unless
            asked for.
        simulated: z ~ p(z) and x ~ p(x|z), independent of these draws, by site; likewise.
    """

    log_prior: Tensor
    log_likelihood: Tensor
    log_posterior: Tensor
    log_likelihoods: dict[str, Tensor]
    kl: Tensor | None
    latents: dict[str, Tensor]
    predicted: dict[str, Tensor]
    simulated: dict[str, Tensor]

    @property
    def log_weights(self) -> Tensor:
        """Return log p(x, z) - log q(z|x), `(draw, data)`."""
        return self.log_prior + self.log_likelihood - self.log_posterior

    def first(self, rows: int) -> "Draws":
        """Return the draws of the first datapoints."""

        def taken(values: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: value[:, :rows] for name, value in values.items()}

        return Draws(
            self.log_prior[:, :rows],
            self.log_likelihood[:, :rows],
            self.log_posterior[:, :rows],
            taken(self.log_likelihoods),
            None if self.kl is None else self.kl[:, :rows],
            taken(self.latents),
            taken(self.predicted),
            taken(self.simulated),
        )

    def tensors(self) -> list[Tensor]:
        """Return every measured tensor and the latents, without predictions and simulations."""
        return [
            *(self.log_prior, self.log_likelihood, self.log_posterior),
            *self.log_likelihoods.values(),
            *self.latents.values(),
            *([] if self.kl is None else [self.kl]),
        ]


def unfolded_draws(drawn: Draws, draws: int) -> Draws:
    """Arrange a run of draws folded into rows, `(1, draw * data)`, as `(draw, data)`."""
    return replace(
        drawn,
        log_prior=of_draws(drawn.log_prior, draws),
        log_likelihood=of_draws(drawn.log_likelihood, draws),
        log_posterior=of_draws(drawn.log_posterior, draws),
        log_likelihoods=unfolded(drawn.log_likelihoods, draws),
        kl=None if drawn.kl is None else of_draws(drawn.kl, draws),
        latents=unfolded(drawn.latents, draws),
    )


def by_site(runs: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Join values of several runs by site, along the draws."""
    return {name: torch.cat([run[name] for run in runs]) for name in runs[0]}


def stacked(runs: list[Draws]) -> Draws:
    """Join several runs along the draws."""
    kls = [run.kl for run in runs if run.kl is not None]
    return Draws(
        log_prior=torch.cat([run.log_prior for run in runs]),
        log_likelihood=torch.cat([run.log_likelihood for run in runs]),
        log_posterior=torch.cat([run.log_posterior for run in runs]),
        kl=torch.cat(kls) if len(kls) == len(runs) else None,
        log_likelihoods=by_site([run.log_likelihoods for run in runs]),
        latents=by_site([run.latents for run in runs]),
        predicted=by_site([run.predicted for run in runs]),
        simulated=by_site([run.simulated for run in runs]),
    )
