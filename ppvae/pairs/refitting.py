"""Fits a prior to the aggregate posterior of a trained VAE."""

import copy
from typing import Any

import pyro
from torch import Tensor, nn

from ppvae.engine import Data, Unsupported, announce, reference
from ppvae.inference import fit
from ppvae.pairs.vae import VAE
from ppvae.priors import Prior


def refit_prior(pair: VAE, data: Data, prior: Prior, **training: Any) -> VAE:
    """Return a VAE with the same encoder and decoder and a prior fitted to their latents.

    Maximizes 1/N sum_n E_{q(z|x_n)}[log prior(z)] over the prior's parameters, drawing z anew at
    every step. With encoder and decoder fixed this is the prior of the highest ELBO, so that
    samples come from where the decoder was trained (Ghosh, Sajjadi, Vergari, Black and Schölkopf,
    "From variational to deterministic autoencoders", 2020, whose ex-post density estimation does
    so with deterministic encoders). The loss of the training is KL[Q(z|X) || P(z)] in nats.

    The returned VAE is a copy and shares no tensors with `pair` and `prior`, which do not change.
    If the prior shares modules with the pair, as a `VampPrior` of its posterior does, the copies
    share them too, and only the prior's own parameters are fitted.

    Args:
        pair: a trained VAE.
        data: its training data, as for `fit`.
        prior: the new prior; training starts from its parameters.
        training: further arguments of `ppvae.fit`, such as `epochs`, `optimizer` and `seed`.

    Returns:
        A new VAE; its encoder and decoder have the parameters of the given ones.

    Raises:
        Unsupported: if the prior has no parameters of its own.
        TypeError: if `pair` is no `VAE`, `prior` is no `Prior`, or an argument is none of `fit`'s.
        Exception: as `fit` does.

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
    # Copied together, so that the copies share what the prior and the pair share.
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
        raise Unsupported(
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
    """A pair whose model is a prior and whose guide is a posterior with fixed parameters."""

    def __init__(self, prior: Prior, posterior: nn.Module) -> None:
        super().__init__()
        self.prior = prior
        self.posterior = posterior

    def model(self, x: Tensor, *conditions: Tensor) -> None:
        announce(self.prior)
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.prior(*conditions))

    def guide(self, x: Tensor, *conditions: Tensor) -> None:
        with pyro.plate("data", len(x)):  # its parameters are fixed, so without gradients
            pyro.sample("z", self.posterior(x, *conditions))
