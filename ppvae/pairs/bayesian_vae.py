"""A VAE whose decoder ends in a layer of weights that have a posterior."""

from collections.abc import Callable
from functools import partial
from typing import Self

import pyro
from torch import Tensor, nn

from ppvae.data import Dataset
from ppvae.likelihoods import Likelihood
from ppvae.networks import Joined, LinearGiven, ResidualMLP
from ppvae.pairs.parts import Parts
from ppvae.pairs.programs import check_roles, check_supports
from ppvae.pairs.vae import VAE
from ppvae.posteriors import DiagonalNormal, Posterior
from ppvae.priors import LearnedNormal, Prior, StandardNormal

_STARTING_SCALE = 0.05  # of the weights' guide: with 1, the decoder would learn from noise


class BayesianVAE(VAE):
    """The VAE p(w) p(z) p(x|z, w) with the guide q(w) q(z|x): a Bayesian last layer w.

        log P(X) >= sum_n E_q[log p(x_n|z_n, w)] - sum_n KL[q(z_n|x_n) || p(z_n)]
                    - KL[q(w) || p(w)]

    All datapoints share the weights w, of which they are evidence together (Kristiadi, Hein and
    Hennig, "Being Bayesian, even just a bit, fixes overconfidence in ReLU networks", 2020; of
    decoders, Daxberger and Hernandez-Lobato, "Bayesian variational autoencoders for unsupervised
    out-of-distribution detection", 2019). `fit` multiplies the terms of a minibatch so that they
    stand for all rows; with `pyro.infer.SVI` do so yourself, by `poutine.scale` around the rows.
    `evidence` is that of each datapoint given one draw of w, `joint_evidence` that of all.

    Shapes: x `(data, *event)`; the site "weights" is one vector. A batch is `(x, *conditions)`.

    Args:
        prior: p(z).
        likelihood: p(x|z, w), called with z, the conditions and w: with a network that ends in
            `networks.LinearGiven`.
        posterior: q(z|x).
        weight_prior: p(w), such as `priors.StandardNormal`.
        weight_posterior: q(w), a factor of the same role whose parameters are learned, such as
            `priors.LearnedNormal`.

    Raises:
        TypeError: if a factor is not of its role.
        ValueError: if a prior and its posterior have different supports.

    Example:
        >>> from ppvae import data
        >>> pair = BayesianVAE.of(data.wine(), latent=2, width=8)
        >>> pair.sample(5).shape
        torch.Size([5, 13])
    """

    def __init__(
        self,
        prior: Prior,
        likelihood: Likelihood,
        posterior: Posterior,
        weight_prior: Prior,
        weight_posterior: Prior,
    ) -> None:
        super().__init__(prior, likelihood, posterior)
        check_roles(
            self,
            weight_prior=(weight_prior, Prior),
            weight_posterior=(weight_posterior, Prior),
        )
        check_supports(self, weight_prior, weight_posterior)
        self.weight_prior = weight_prior
        self.weight_posterior = weight_posterior

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        *,
        latent: int = 10,
        network: Callable[[int, int], nn.Module] = ResidualMLP,
        prior: Callable[[int], Prior] = StandardNormal,
        likelihood: Callable[[nn.Module], Likelihood] | None = None,
        posterior: Callable[[nn.Module], Posterior] = DiagonalNormal,
        width: int = 64,
        weight_prior: Callable[[int], Prior] = StandardNormal,
        weight_posterior: Callable[[int], Prior] | None = None,
    ) -> Self:
        """Build the pair for a dataset.

        Args:
            dataset: the data.
            latent: number of latent dimensions.
            network: called with the sizes of input and output, for the encoder and for the
                decoder up to its last layer.
            prior: called with `latent`.
            likelihood: called with the decoder; without it the support decides.
            posterior: called with the encoder.
            width: number of features of the last layer, tanh of the network's outputs.
            weight_prior: called with the number of weights.
            weight_posterior: likewise; unless given, a `LearnedNormal`, which is mean-field.

        Raises:
            ValueError: if `latent` or `width` is not positive.
            Unsupported: if no likelihood is known for the support.
        """
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")

        def features(inputs: int, outputs: int) -> nn.Module:
            return nn.Sequential(network(inputs, width), nn.Tanh())

        parts = partial(Parts, dataset, latent=latent, likelihood=likelihood, posterior=posterior)
        decoder, encoder = parts(network=features), parts(network=network)
        inner = Joined if decoder.given else nn.Sequential
        factor = decoder.likelihood(inside=lambda hidden: LinearGiven(inner(hidden)))
        weights = decoder.family(nn.Identity()).outputs_for(decoder.features) * (width + 1)
        guide = weight_posterior or (lambda count: LearnedNormal(count, _STARTING_SCALE))
        return cls(
            prior(latent), factor, encoder.posterior(), weight_prior(weights), guide(weights)
        )

    def draw_shared(self, *, of_guide: bool) -> tuple[Tensor, ...]:
        """Draw the weights, in the guide or in the model; `sample` draws them once, by q(w)."""
        factor = self.weight_posterior if of_guide else self.weight_prior
        return (pyro.sample("weights", factor()),)

    def shared_means(self) -> tuple[Tensor, ...]:
        """Return the mean of q(w), at which `decode` gives p(x|z, w)."""
        return (self.weight_posterior().mean,)
