"""Starts a mixture VAE at the clusters of a plain VAE's latents."""

import copy

import torch
from torch import nn

from ppvae.engine import Data, Unsupported, as_batch, seeded
from ppvae.networks import First, Joined
from ppvae.pairs.mixture_vae import MixtureVAE
from ppvae.pairs.programs import evaluating
from ppvae.pairs.vae import VAE
from ppvae.priors import ConditionalFullRankNormal


def mixture_from(
    pair: VAE, data: Data, components: int = 10, *, restarts: int = 10, seed: int = 0
) -> MixtureVAE:
    """Return a MixtureVAE with a VAE's encoder and decoder, and a mixture fitted to its latents.

    Maximizes 1/N sum_n log sum_k w_k N(z_n; loc_k, L_k L_k^T), z_n one draw of q(z|x_n), by
    expectation maximization from several starts, of which it keeps the most likely (Jiang, Zheng,
    Tan, Tang and Zhou, "Variational deep embedding: an unsupervised and generative approach to
    clustering", 2017). With encoder and decoder fixed, this is the mixture of the highest ELBO.
    Fitting the pair then moves all parts together; a lower learning rate keeps the clusters.

    The pair that is returned shares no tensors with the VAE, which does not change.

    Args:
        pair: a trained VAE whose decoder takes z alone.
        data: its training data; of a dataset, the training split.
        components: number of components.
        restarts: number of starts, from k-means with random centers.
        seed: of the draws and the starts.

    Raises:
        TypeError: if `pair` is no `VAE`.
        Unsupported: if the decoder takes conditions, or the latents are no vectors of real
            numbers.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> mixture = mixture_from(pairs.assemble(digits, latent=2), digits, components=10)
        >>> mixture.cluster(digits.test).shape
        torch.Size([179, 10])
    """
    # It takes half a second, which others need not wait, and draws random numbers.
    with seeded(0):
        from sklearn.mixture import GaussianMixture

    if not isinstance(pair, VAE):
        raise TypeError(f"mixture_from needs pair to be a ppvae.VAE, got {type(pair).__name__}")
    if isinstance(pair.likelihood.network, Joined):
        raise Unsupported(
            "mixture_from needs a decoder of z alone, got one that takes conditions; build "
            "MixtureVAE with priors.ConditionalFullRankNormal.of_classes instead"
        )
    with evaluating(pair), torch.no_grad(), seeded(seed):
        z = pair.posterior(*as_batch(data, pair, split="train")).sample()
    em = GaussianMixture(components, n_init=restarts, random_state=seed)
    em.fit(z.cpu().double().numpy())
    weights, loc, covariance = map(torch.tensor, (em.weights_, em.means_, em.covariances_))
    factors = torch.linalg.cholesky(covariance)
    likelihood, posterior = copy.deepcopy((pair.likelihood, pair.posterior))
    likelihood.network = First(likelihood.network)
    prior = ConditionalFullRankNormal.of_classes(loc, factors).to(z)
    mixture = MixtureVAE(prior, likelihood, posterior, components)
    mixture.logits = nn.Parameter(weights.log().to(z))
    return mixture
