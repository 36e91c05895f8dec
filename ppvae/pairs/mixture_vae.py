"""A VAE whose latents lie in clusters."""

from collections.abc import Callable
from typing import Self

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppvae.data import Dataset
from ppvae.engine import Array, as_tensor
from ppvae.likelihoods import Likelihood
from ppvae.networks import First, Joined, ResidualMLP
from ppvae.pairs.arguments import check_conditions, check_rows, floating, tensors_of
from ppvae.pairs.parts import Parts
from ppvae.pairs.programs import Program, ProgramPair, check_roles, check_supports, evaluating
from ppvae.posteriors import DiagonalNormal, Posterior
from ppvae.priors import ConditionalFullRankNormal, Prior


class MixtureVAE(ProgramPair):
    """The Gaussian-mixture VAE w_k p(z|k) p(x|z, k), k a component, with the guide q(z|x).

        log p(x) >= E_q[log sum_k w_k p(z|k) p(x|z, k) - log q(z|x)]

    The sum over components is exact, so that the guide needs no network for k: its best one is
    p(k|x, z), which is known (Jiang, Zheng, Tan, Tang and Zhou, "Variational deep embedding: an
    unsupervised and generative approach to clustering", 2017). A decoder that ignores k, inside
    of `networks.First`, is evaluated once for all components. The prior of each component may
    start where `mixture_from` finds clusters; from random places training finds worse ones.

    Shapes: x `(data, *event)`. Factors get k one-hot, `(*, components)`. Further tensors of a
    batch, such as conditions and which cells are seen, go to likelihood and posterior.

    Args:
        prior: p(z|k), such as `ConditionalFullRankNormal`.
        likelihood: p(x|z), with a network inside of `First`; or p(x|z, k), inside of `Joined`.
        posterior: q(z|x).
        components: their number.

    Raises:
        TypeError: if a factor is not of its role.
        ValueError: if there is no component, or prior and posterior have different supports.

    Example:
        >>> from ppvae import data
        >>> digits = data.digits()
        >>> pair = MixtureVAE.of(digits, latent=2, components=10)
        >>> pair.cluster(digits.test[:4]).shape
        torch.Size([4, 10])
        >>> pair.sample(5, k=3).shape
        torch.Size([5, 64])
    """

    def __init__(
        self, prior: Prior, likelihood: Likelihood, posterior: Posterior, components: int
    ) -> None:
        super().__init__()
        check_roles(
            self,
            prior=(prior, Prior),
            likelihood=(likelihood, Likelihood),
            posterior=(posterior, Posterior),
        )
        check_supports(self, prior, posterior)
        if components < 1:
            raise ValueError(f"MixtureVAE needs components of at least 1, got {components}")
        self.prior = prior
        self.likelihood = likelihood
        self.posterior = posterior
        self.components = components
        self.logits = nn.Parameter(torch.zeros(components))

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        *,
        latent: int = 10,
        components: int = 10,
        network: Callable[[int, int], nn.Module] = ResidualMLP,
        likelihood: Callable[[nn.Module], Likelihood] | None = None,
        posterior: Callable[[nn.Module], Posterior] = DiagonalNormal,
    ) -> Self:
        """Build the pair for a dataset; components start as standard normals at random places.

        Args:
            dataset: the data to be modeled; one datapoint is a vector.
            latent: number of latent dimensions.
            components: number of components.
            network: called with the sizes of input and output, for encoder and decoder.
            likelihood: called with the decoder, which ignores k unless the data have conditions;
                without it the support decides.
            posterior: called with the encoder.

        Raises:
            ValueError: if `latent` or `components` is not positive.
            Unsupported: if no likelihood is known for the support.
        """
        parts = Parts(
            dataset, latent=latent, network=network, likelihood=likelihood, posterior=posterior
        )
        if parts.given:
            factor = parts.likelihood(latent + components, Joined)
        else:
            factor = parts.likelihood(inside=First)
        loc = torch.randn(max(components, 1), latent)  # none at all is refused below
        prior = ConditionalFullRankNormal.of_classes(loc, torch.eye(latent))
        return cls(prior, factor, parts.posterior(), components)

    @property
    def model(self) -> nn.Module:
        """The model w_k p(z|k) p(x|z, k), called with a batch."""
        return self.program(_Model)

    @property
    def guide(self) -> nn.Module:
        """The guide q(z|x), called with a batch."""
        return self.program(_Guide)

    def encode(self, x: Array, *others: Array) -> dist.Distribution:
        """Return q(z|x) for `x` of shape `(*, *event)`."""
        check_conditions(self.posterior, len(others))
        given = tensors_of(self, (x, *others), "x")
        with evaluating(self, given):
            return self.posterior(*given)

    def decode(self, z: Array, k: Array | int, *others: Array) -> dist.Distribution:
        """Return p(x|z, k) for `z` of shape `(*, latent)`; k is a number, or one for each z."""
        z, *given = tensors_of(self, (z, *others), "z")
        with evaluating(self, (z, *given)):
            return self.likelihood(z, self.one_hot(k), *given)

    def one_hot(self, k: Array | int) -> Tensor:
        """Return the numbers of components as vectors, `(*, components)`."""
        places = torch.as_tensor(k, device=self.logits.device)
        vectors = torch.eye(self.components, dtype=self.logits.dtype, device=self.logits.device)
        return vectors[places]

    @torch.no_grad()
    def cluster(self, x: Array, *others: Array, draws: int = 50) -> Tensor:
        """Return the probabilities p(k|x), `(data, components)`.

        They are p(k|x, z), averaged over draws of q(z|x) with the weights p(x, z) / q(z|x): with
        more draws they become exact, whatever the guide.
        """
        if draws < 1:
            raise ValueError(f"cluster needs at least one draw, got {draws}")
        given = tensors_of(self, (x, *others), "x")
        with evaluating(self):
            posterior = self.posterior(*given)
            joint = torch.tensor(-torch.inf)
            for _ in range(draws):
                z = posterior.sample()
                joint = torch.logaddexp(joint, self.log_joint(z, *given) - posterior.log_prob(z))
        probabilities: Tensor = joint.softmax(0).T
        return probabilities

    def log_joint(self, z: Tensor, x: Tensor, *others: Tensor) -> Tensor:
        """Return log w_k p(z|k) p(x|z, k) in nats, `(components, data)`."""
        k = self.one_hot(torch.arange(self.components)).unsqueeze(1)
        log_weights = self.logits.log_softmax(0).unsqueeze(1)
        likelihood = self.likelihood(z, k, *others).log_prob(x)
        joint: Tensor = log_weights + self.prior(k).log_prob(z) + likelihood
        return joint

    @torch.no_grad()
    def sample(self, n: int, *others: Array, k: int | None = None) -> Tensor:
        """Draw `n` datapoints, `(n, *event)`, of one component or of all by their weights.

        Where more comes with x, `n` for each of their rows: `(n, data, *event)`.
        """
        given = tensors_of(self, others)
        check_rows(given)
        shape = (n, *(len(rows) for rows in given[:1]))
        with evaluating(self):
            drawn = dist.Categorical(logits=self.logits).sample(shape)
            component = self.one_hot(drawn if k is None else torch.full_like(drawn, k))
            z = self.prior(component).sample()
            x: Tensor = self.likelihood(z, component, *given).sample()
        return x


class _Program(Program[MixtureVAE]):
    def batch(self, x: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        check_rows((x, *others))
        check_conditions(self.pair.posterior, len(others))
        return floating(self.pair, (x, *map(as_tensor, others)))


class _Model(_Program):
    def forward(self, x: Tensor, *others: Tensor) -> None:
        x, *given = self.batch(x, *others)
        with pyro.plate("data", len(x)):
            logits = self.pair.logits
            k = pyro.sample("k", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})
            component = self.pair.one_hot(k)
            z = pyro.sample("z", self.pair.prior(component))
            pyro.sample("x", self.pair.likelihood(z, component, *given), obs=x)


class _Guide(_Program):
    def forward(self, x: Tensor, *others: Tensor) -> None:
        x, *given = self.batch(x, *others)
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.pair.posterior(x, *given))
