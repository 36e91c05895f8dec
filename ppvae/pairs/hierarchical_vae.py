"""A VAE with several layers of latents, each the prior of the one below."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Self

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppvae.data import Dataset
from ppvae.engine import Array
from ppvae.likelihoods import Likelihood
from ppvae.networks import First, Joined, ResidualMLP
from ppvae.pairs.arguments import check_data, check_number, check_rows, floating, tensors_of
from ppvae.pairs.layered_posteriors import BottomUp, Draw, LayeredPosterior
from ppvae.pairs.parts import Parts
from ppvae.pairs.programs import Program, ProgramPair, check_roles, check_supports, evaluating
from ppvae.posteriors import Posterior
from ppvae.priors import ConditionalNormal, Prior, StandardNormal


class HierarchicalVAE(ProgramPair):
    """The VAE p(z_L) p(z_{L-1} | z_L) ... p(z_1 | z_2, ..., z_L) p(x | z_1, ..., z_L).

        log p(x) >= E_q[log p(x|z) + sum_l log p(z_l | z_{l+1}, ..., z_L) - log q(z_1, ..., z_L|x)]

    (Rezende, Mohamed and Wierstra, "Stochastic Backpropagation and Approximate Inference in Deep
    Generative Models", 2014). The class of the posterior decides in which order its layers are
    drawn: `BottomUp`, or `Ladder` from the top. The latent sites are "z1", next to x, to "zL";
    `diagnostics.kl_per_site` says which are in use.

    Factors are called with all layers above, the nearest first: the likelihood with
    `z_1, ..., z_L` and the conditions of a batch, a prior with the layers above it. Their networks
    inside of `networks.Joined` are skip connections; inside of `networks.First` they see the
    nearest layer alone.

    Args:
        priors: p(z_l | z_{l+1}, ..., z_L) of each layer, the lowest first; the last is p(z_L).
        likelihood: p(x | z_1, ..., z_L).
        posterior: q(z_1, ..., z_L | x).

    Raises:
        TypeError: if a factor is not of its role.
        ValueError: if priors and posteriors differ in number or support.

    Example:
        >>> from ppvae import data
        >>> pair = HierarchicalVAE.of(data.digits(), latent=(8, 2))
        >>> z1, z2 = pair.encode(data.digits().test[:5])
        >>> pair.sample(10, above=[z2]).shape
        torch.Size([10, 5, 64])
    """

    def __init__(
        self, priors: Sequence[Prior], likelihood: Likelihood, posterior: LayeredPosterior
    ) -> None:
        super().__init__()
        check_roles(
            self,
            likelihood=(likelihood, Likelihood),
            posterior=(posterior, LayeredPosterior),
            **{f"prior {place}": (prior, Prior) for place, prior in enumerate(priors, 1)},
        )
        if not 1 <= len(priors) == len(posterior.posteriors):
            raise ValueError(
                "HierarchicalVAE needs a prior and a posterior for each layer, got "
                f"{len(priors)} priors and {len(posterior.posteriors)} posteriors"
            )
        for prior, approximate in zip(priors, posterior.posteriors, strict=True):
            assert isinstance(approximate, Posterior)
            check_supports(self, prior, approximate)
        self.priors = nn.ModuleList(priors)
        self.likelihood = likelihood
        self.posterior = posterior

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        *,
        latent: int | Sequence[int] = (16, 8),
        network: Callable[[int, int], nn.Module] = ResidualMLP,
        likelihood: Callable[[nn.Module], Likelihood] | None = None,
        posterior: type[LayeredPosterior] = BottomUp,
    ) -> Self:
        """Build the pair, each layer given the one above; with conditions p(x|z) is given all.

        Args:
            dataset: the data.
            latent: dimensions of each layer, the lowest first; one number is that of the lower of
                two layers, of which the upper has half as many.
            network: called with the sizes of input and output, for every network.
            likelihood: called with the decoder; without it the support decides.
            posterior: the class of q(z_1, ..., z_L | x).

        Raises:
            ValueError: if there is no layer, or one has no latent dimension.
            Unsupported: if no likelihood is known for the support.
        """
        sizes = [latent, -(-latent // 2)] if isinstance(latent, int) else list(latent)
        if min(sizes, default=0) < 1:
            raise ValueError(f"latent must be at least 1 for each layer, got {sizes}")
        parts = Parts(dataset, latent=sizes[0], network=network, likelihood=likelihood)
        chain = [
            ConditionalNormal(First(network(above, 2 * size))) for size, above in pairwise(sizes)
        ]
        factor = parts.likelihood(*((sum(sizes), Joined) if parts.given else (sizes[0], First)))
        return cls([*chain, StandardNormal(sizes[-1])], factor, posterior.of(parts, sizes))

    @property
    def model(self) -> nn.Module:
        """The model, called with `x`, `(data, *event)`, and conditions."""
        return self.program(_Model)

    @property
    def guide(self) -> nn.Module:
        """The guide, called with the same."""
        return self.program(_Guide)

    def drawn_below(self, above: Sequence[Tensor], draw: Draw) -> list[Tensor]:
        """Draw the layers below those given from their priors; return all, the lowest first."""
        layers = list(above)
        for place in reversed(range(len(self.priors) - len(layers))):
            layers.insert(0, draw(place + 1, self.priors[place](*layers)))
        return layers

    @torch.no_grad()
    def encode(self, x: Array, *conditions: Array) -> tuple[Tensor, ...]:
        """Return one draw of q(z_1, ..., z_L | x), `(*, latent)` of each layer, the lowest first.

        The layers are drawn together, since the distribution of one depends on others' draws.
        """
        given = tensors_of(self, (x, *conditions), "x")
        with evaluating(self):
            return tuple(self.posterior(lambda _, q: q.sample(), self.priors, *given))

    def decode(self, *layers: Array) -> dist.Distribution:
        """Return p(x | z_1, ..., z_L) for layers of shape `(*, latent)`, then any conditions.

        Raises:
            ValueError: if layers are missing.
        """
        if len(layers) < (count := len(self.priors)):
            raise ValueError(f"decode needs {count} layers, the lowest first, got {len(layers)}")
        given = tensors_of(self, layers, "z1")
        with evaluating(self, given):
            return self.likelihood(*given)

    @torch.no_grad()
    def sample(self, n: int, *conditions: Array, above: Sequence[Array] = ()) -> Tensor:
        """Draw `n` datapoints from p(x), or from p(x | above): `(n, *event)`.

        Given conditions `(data, features)`, or values `above` of the top layers, the lowest of
        them first, `(data, latent)` each, draw `n` for each of their rows: `(n, data, *event)`.
        """
        check_number(n)
        if len(above) > len(self.priors):
            raise ValueError(f"the pair has {len(self.priors)} layers, got {len(above)} above")
        rows = tensors_of(self, (*above, *conditions))
        check_rows(rows)
        fixed = [z.expand(int(n), *z.shape) for z in rows[: len(above)]]
        with evaluating(self):
            if not fixed:
                fixed = [self.priors[-1]().expand([int(n), *map(len, rows[:1])]).sample()]
            layers = self.drawn_below(fixed, lambda _, p: p.sample())
            x: Tensor = self.likelihood(*layers, *rows[len(above) :]).sample()
        return x

    @torch.no_grad()
    def reconstruct(self, x: Array, *conditions: Array) -> Tensor:
        """Return the mean of p(x|z) at one draw of all layers, of the shape of `x`."""
        return torch.as_tensor(self.decode(*self.encode(x, *conditions), *conditions).mean)


def _site(number: int, distribution: dist.Distribution) -> Tensor:
    return torch.as_tensor(pyro.sample(f"z{number}", distribution))


class _Program(Program[HierarchicalVAE]):
    def batch(self, x: Tensor, *conditions: Tensor) -> tuple[Tensor, ...]:
        check_data((x, *conditions), self.pair.likelihood.event_dim)
        return floating(self.pair, (x, *conditions))


class _Model(_Program):
    def forward(self, x: Tensor, *conditions: Tensor) -> Tensor:
        x, *given = self.batch(x, *conditions)
        with pyro.plate("data", len(x)):
            layers = self.pair.drawn_below((), _site)
            likelihood = self.pair.likelihood(*layers, *given)
            return torch.as_tensor(pyro.sample("x", likelihood, obs=x))


class _Guide(_Program):
    def forward(self, x: Tensor, *conditions: Tensor) -> list[Tensor]:
        x, *given = self.batch(x, *conditions)
        with pyro.plate("data", len(x)):
            return list(self.pair.posterior(_site, self.pair.priors, x, *given))
