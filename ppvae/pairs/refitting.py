"""Gives a trained VAE the prior that its latents have."""

import copy
from typing import Any

import pyro
from torch import Tensor, nn

from ppvae.engine import Data, announce, reference
from ppvae.inference import fit
from ppvae.pairs.vae import VAE
from ppvae.priors import Prior


def refit_prior(pair: VAE, data: Data, prior: Prior, **training: Any) -> VAE:
    """Return a VAE of the same encoder and decoder, its prior fitted to the aggregate posterior.

    Maximizes 1/N sum_n E_{q(z|x_n)}[log prior(z)] over the prior's parameters, drawing z anew at
    every step. With encoder and decoder fixed this is the prior of the highest ELBO, so that
    samples come from where the decoder was trained (Ghosh, Sajjadi, Vergari, Black and Schölkopf,
    "From variational to deterministic autoencoders", 2020, whose ex-post density estimation does
    so with deterministic encoders). The loss of the training is KL[Q(z|X) || P(z)] in nats.

    Everything that is returned is a copy: neither `pair` nor `prior` changes, nor do they change
    with what becomes of the copy. Of a prior that shares modules with the pair, such as
    `VampPrior` of its posterior, the copy shares them with the copy of the pair, and only what is
    the prior's own is fitted.

    Args:
        pair: a trained VAE.
        data: what it was trained on, as for `fit`.
        prior: the new prior, from where its training starts.
        training: further arguments of `ppvae.fit`, such as `epochs`, `optimizer` and `seed`.

    Returns:
        A new VAE; encoder and decoder equal the given ones in every number.

    Raises:
        ValueError: if the prior has no parameters of its own, or as `fit` does.
        TypeError: if `pair` or `prior` is not of its class, or an argument is none of `fit`'s.

    Example:
        >>> import ppvae
        >>> from ppvae import data, pairs, priors
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> refitted = refit_prior(pair, digits, priors.NormalMixture(2, components=5), epochs=1)
        >>> refitted.sample(3).shape, type(pair.prior).__name__
        (torch.Size([3, 64]), 'StandardNormal')
    """
    if not isinstance(pair, VAE):
        raise TypeError(f"refit_prior needs pair to be a ppvae.VAE, got {type(pair).__name__}")
    # Together, so that what the prior shares with the pair is shared by the copies too.
    likelihood, posterior, own = copy.deepcopy((pair.likelihood, pair.posterior, prior))
    refitted = VAE(own, likelihood, posterior)
    like = reference(posterior)
    if like is not None:
        own.to(like)
    fixed = [p for p in nn.ModuleList([likelihood, posterior]).parameters() if p.requires_grad]
    modes = {module: module.training for module in refitted.modules()}
    for parameter in fixed:
        parameter.requires_grad_(False)
    own.train()
    posterior.eval()
    if not any(parameter.requires_grad for parameter in own.parameters()):
        raise ValueError(
            f"refit_prior needs a prior with parameters of its own, {type(prior).__name__} has "
            "none; take one such as priors.NormalMixture"
        )
    fit(_Aggregate(own, posterior), data, **training)
    for parameter in fixed:
        parameter.requires_grad_(True)
    for module, mode in modes.items():
        module.training = mode
    return refitted


class _Aggregate(nn.Module):
    """A prior as the model of draws from a posterior that stays as it is."""

    def __init__(self, prior: Prior, posterior: nn.Module) -> None:
        super().__init__()
        self.prior = prior
        self.posterior = posterior

    def model(self, x: Tensor, *conditions: Tensor) -> None:
        announce(self.prior)
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.prior(*conditions))

    def guide(self, x: Tensor, *conditions: Tensor) -> None:
        with pyro.plate("data", len(x)):  # of fixed parameters, so without gradients
            pyro.sample("z", self.posterior(x, *conditions))
