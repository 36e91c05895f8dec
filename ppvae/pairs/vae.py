"""The variational autoencoder: one latent per datapoint."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppvae.engine import Array, as_tensor, noted
from ppvae.likelihoods import Likelihood
from ppvae.pairs.arguments import (
    check_conditions,
    check_data,
    check_number,
    check_rows,
    failed_rows,
    floating,
    tensors_of,
)
from ppvae.pairs.programs import Program, ProgramPair, check_roles, check_supports, evaluating
from ppvae.posteriors import Posterior
from ppvae.priors import Prior


class VAE(ProgramPair):
    """A variational autoencoder as a pair of Pyro programs.

    The model is p(z) p(x|z), the guide q(z|x), both inside `pyro.plate("data", ...)`; the latent
    site is "z", the observed site "x" (Kingma and Welling, "Auto-Encoding Variational Bayes",
    2014). Further tensors of a datapoint are conditions y, and the pair is p(z|y) p(x|z, y)
    and q(z|x, y) (Sohn, Lee and Yan, "Learning structured output representation using deep
    conditional generative models", 2015): batches are then `(x, *conditions)`, and every factor
    is called with the conditions too.

    `encode`, `decode`, `sample` and `reconstruct` evaluate the networks in evaluation mode and
    leave every module in the mode in which it was. They take tensors of any real dtype, arrays and
    tables of pandas or polars, and bring them to the pair's dtype and device. What they return
    requires no gradient, unless an argument does; then it keeps the graph. For gradients of
    parameters alone call the factor, such as `pair.posterior(x)`. A flow evaluates its parameters
    in `log_prob`: call that inside `torch.no_grad()`.

    Args:
        prior: p(z), or p(z|y); priors without a network ignore conditions.
        likelihood: p(x|z), or p(x|z, y).
        posterior: q(z|x), or q(z|x, y).

    Raises:
        TypeError: if a factor is not of its role.
        ValueError: if prior and posterior have different supports.

    Example:
        >>> import numpy as np
        >>> from ppvae.likelihoods import Bernoulli
        >>> from ppvae.posteriors import DiagonalNormal
        >>> from ppvae.priors import StandardNormal
        >>> pair = VAE(
        ...     prior=StandardNormal(2),
        ...     likelihood=Bernoulli(nn.Linear(2, 5)),
        ...     posterior=DiagonalNormal(nn.Linear(5, 4)),
        ... )
        >>> pair.sample(3).shape
        torch.Size([3, 5])
        >>> pair.encode(np.zeros((4, 5))).mean.numpy().shape
        (4, 2)
    """

    def __init__(self, prior: Prior, likelihood: Likelihood, posterior: Posterior) -> None:
        super().__init__()
        check_roles(
            self,
            prior=(prior, Prior),
            likelihood=(likelihood, Likelihood),
            posterior=(posterior, Posterior),
        )
        check_supports(self, prior, posterior)
        self.prior, self.likelihood, self.posterior = prior, likelihood, posterior

    @property
    def model(self) -> nn.Module:
        """The model p(z|y) p(x|z, y), called with `x`, `(data, *event)`, and each condition."""
        return self.program(_Model)

    @property
    def guide(self) -> nn.Module:
        """The guide q(z|x, y), called with `x`, `(data, *event)`, and each condition."""
        return self.program(_Guide)

    def facts(self) -> dict[str, str]:
        """Return what a notebook shows of the pair, by name."""
        factors = {
            "prior p(z)": self.prior,
            "likelihood p(x|z)": self.likelihood,
            "posterior q(z|x)": self.posterior,
        }
        found = {name: type(factor).__name__ for name, factor in factors.items()}
        latent = self._latent()
        return found if latent is None else found | {"latent z": f"{latent} dimensions"}

    def _latent(self) -> int | None:
        """Return the number of latent dimensions, where the prior knows it without conditions."""
        if isinstance(features := getattr(self.prior, "features", None), int):
            return features
        with suppress(Exception), torch.no_grad(), evaluating(self):
            return int(self.prior().event_shape.numel())
        return None

    def conditions_of(self, conditions: Sequence[Array]) -> Sequence[Array]:
        """Return what the factors are given of the conditions that a user passes: all as it is."""
        return conditions

    def draw_shared(self, *, of_guide: bool) -> tuple[Tensor, ...]:
        """Draw what all datapoints share and the likelihood gets, by the guide or not: nothing."""
        return ()

    def shared_means(self) -> tuple[Tensor, ...]:
        """Return the guide's means of what all datapoints share, which `decode` takes: nothing."""
        return ()

    def taken(self, x: Tensor, *conditions: Tensor) -> tuple[Tensor, ...]:
        """Return what the factors are given of a batch: x and conditions as floating values."""
        return floating(self, (x, *map(as_tensor, self.conditions_of(conditions))))

    def encode(self, x: Array, *conditions: Array) -> dist.Distribution:
        """Return q(z|x) for `x` of shape `(*, *event)`, given conditions `(*, features)`.

        Raises:
            TypeError: if an argument is no tensor and no array or table of numbers.
            ValueError: if an array holds NaN or infinite values, or the distribution's parameters
                are not valid for a row; a note names such rows.
        """
        check_conditions(self.posterior, len(conditions))
        given = tensors_of(self, (x, *self.conditions_of(conditions)), "x")
        with evaluating(self, given), noted(partial(failed_rows, self, given)):
            return self.posterior(*given)

    def decode(self, z: Array, *conditions: Array) -> dist.Distribution:
        """Return p(x|z) for `z` of shape `(*, latent)`, given conditions `(*, features)`.

        Raises:
            TypeError: if an argument is no tensor and no array or table of numbers.
            ValueError: if an array holds NaN or infinite values.
        """
        given = tensors_of(self, (z, *self.conditions_of(conditions)), "z")
        with evaluating(self, given):
            return self.likelihood(*given, *self.shared_means())

    @torch.no_grad()
    def sample(self, n: int, *conditions: Array) -> Tensor:
        """Draw `n` datapoints from p(x), by z from the prior and x from p(x|z): `(n, *event)`.

        Given conditions of shape `(data, *)`, draw `n` for each of their rows:
        `(n, data, *event)`.
        """
        check_number(n)
        given = tensors_of(self, self.conditions_of(conditions))
        check_rows(given)
        with evaluating(self):
            prior = self.prior(*given).expand([len(rows) for rows in given[:1]])
            z = prior.sample((int(n),))
            x: Tensor = self.likelihood(z, *given, *self.draw_shared(of_guide=True)).sample()
        return x

    @torch.no_grad()
    def reconstruct(self, x: Array, *conditions: Array) -> Tensor:
        """Return the mean of p(x|z) at one draw z of q(z|x), of the shape of `x`."""
        with evaluating(self):
            z = self.encode(x, *conditions).sample()
            mean: Tensor = self.decode(z, *conditions).mean
        return mean


class _Program(Program[VAE]):
    def batch(self, x: Tensor, *conditions: Tensor) -> tuple[Tensor, ...]:
        """Return a batch of floating values; check its shapes and the number of its tensors."""
        check_data((x, *conditions), self.pair.likelihood.event_dim)
        check_conditions(self.pair.posterior, len(conditions))
        return self.pair.taken(x, *conditions)


class _Model(_Program):
    def forward(self, x: Tensor, *conditions: Tensor) -> Tensor:
        x, *given = self.batch(x, *conditions)
        shared = self.pair.draw_shared(of_guide=False)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.pair.prior(*given))
            likelihood = self.pair.likelihood(z, *given, *shared)
            observed: Tensor = pyro.sample("x", likelihood, obs=x)
        return observed


class _Guide(_Program):
    def forward(self, x: Tensor, *conditions: Tensor) -> Tensor:
        x, *given = self.batch(x, *conditions)
        self.pair.draw_shared(of_guide=True)
        with pyro.plate("data", len(x)):
            z: Tensor = pyro.sample("z", self.pair.posterior(x, *given))
        return z
