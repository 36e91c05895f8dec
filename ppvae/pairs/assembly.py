"""Builds a VAE for a dataset."""

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.distributions import constraints

from ppvae.data import Dataset
from ppvae.engine import Unsupported
from ppvae.likelihoods import (
    Bernoulli,
    Binomial,
    ContinuousBernoulli,
    Likelihood,
    LogNormal,
    NegativeBinomial,
    Normal,
)
from ppvae.networks import ResidualMLP, Scaled
from ppvae.pairs.vae import VAE
from ppvae.posteriors import DiagonalNormal, Posterior
from ppvae.priors import Prior, PseudoInputs, StandardNormal, VampPrior


def assemble(
    dataset: Dataset,
    *,
    latent: int = 10,
    network: Callable[[int, int], nn.Module] = ResidualMLP,
    prior: Callable[[int], Prior] | None = None,
    pseudo_inputs: int | None = None,
    likelihood: Callable[[nn.Module], Likelihood] | None = None,
    posterior: Callable[[nn.Module], Posterior] = DiagonalNormal,
) -> VAE:
    """Build a VAE for a dataset; likelihood and sizes of the networks follow from the data.

    Args:
        dataset: the data to be modeled; one datapoint is a vector.
        latent: number of latent dimensions.
        network: called with the sizes of input and output, for encoder and decoder. The encoder
            of bounded data gets them divided by their upper bound.
        prior: called with `latent`; `StandardNormal` unless given.
        pseudo_inputs: number of pseudo-inputs of a `VampPrior`, which is then the prior. They
            start at random training data and stay within the range of the training data.
        likelihood: called with the decoder; without it the support decides: binary data get
            `Bernoulli`, integer levels `Binomial`, counts `NegativeBinomial`, [0, 1]
            `ContinuousBernoulli`, positive numbers `LogNormal`, the real line `Normal`.
        posterior: called with the encoder.

    Raises:
        Unsupported: if no likelihood is known for the support and none is given.
        ValueError: if `latent` is not positive, a prior is given besides pseudo-inputs, or there
            are fewer training data than pseudo-inputs.

    Example:
        >>> from ppvae import data
        >>> assemble(data.digits(), latent=2).likelihood.total_count
        16
    """
    if latent < 1:
        raise ValueError(f"latent must be at least 1, got {latent}")
    features = math.prod(dataset.event_shape)
    build = likelihood or likelihood_for(dataset.support)
    # A factor without a network says how many outputs it needs, given its arguments.
    decoder = network(latent, build(nn.Identity()).outputs_for(features))
    encoder = network(features, posterior(nn.Identity()).outputs_for(latent))
    highest = float(getattr(dataset.support, "upper_bound", 1))
    if highest != 1:
        encoder = Scaled(encoder, highest)
    approximate = posterior(encoder)
    if pseudo_inputs is None:
        chosen = (prior or StandardNormal)(latent)
    elif prior is None:
        chosen = VampPrior(approximate, _from_training(dataset, pseudo_inputs))
    else:
        raise ValueError("pseudo_inputs make a VampPrior; pass them or a prior, not both")
    return VAE(prior=chosen, likelihood=build(decoder), posterior=approximate)


def _from_training(dataset: Dataset, count: int) -> PseudoInputs:
    train = dataset.train
    if not 1 <= count <= len(train):
        raise ValueError(
            f"pseudo_inputs must be between 1 and the {len(train)} training data, got {count}"
        )
    rows = train[torch.randperm(len(train))[:count]]
    return PseudoInputs.from_data(rows, (float(train.min()), float(train.max())))


def likelihood_for(support: constraints.Constraint) -> Callable[[nn.Module], Likelihood]:
    """Return a constructor, called with a network, of the likelihood with this support."""
    if support is constraints.boolean:
        return Bernoulli
    if support is constraints.unit_interval:
        return ContinuousBernoulli
    if support is constraints.real:
        return Normal
    if support is constraints.positive:
        return LogNormal
    if support is constraints.nonnegative_integer:
        return NegativeBinomial
    if isinstance(support, constraints.integer_interval) and support.lower_bound == 0:
        highest = int(support.upper_bound)
        return lambda network: Binomial(network, total_count=highest)
    raise Unsupported(f"no likelihood is known for the support {support}; pass likelihood")
