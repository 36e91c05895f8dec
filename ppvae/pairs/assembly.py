"""Builds a VAE for a dataset."""

from collections.abc import Callable

import torch
from torch import nn

from ppvae.data import Dataset
from ppvae.engine import Unsupported
from ppvae.likelihoods import Likelihood
from ppvae.networks import EncoderInput, First, ResidualMLP
from ppvae.pairs.parts import Parts
from ppvae.pairs.vae import VAE
from ppvae.posteriors import DiagonalNormal, Posterior
from ppvae.priors import (
    ConditionalFullRankNormal,
    Prior,
    PseudoInputs,
    StandardNormal,
    VampPrior,
)


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

    The pair takes and gives values in the units of the data. Inside, real features have mean 0 and
    standard deviation 1 over the training data, so that training does not depend on the units.
    With a likelihood of your own this is so if the dataset has a standardization.

    Args:
        dataset: the data to be modeled; one datapoint is a vector.
        latent: number of latent dimensions.
        network: called with the sizes of input and output, for encoder and decoder. The encoder
            of levels gets them divided by the highest, of other data standardized.
        prior: called with `latent`; `StandardNormal` unless given, and for data with given
            classes (`dataset.conditional()`) a normal prior of each class.
        pseudo_inputs: number of pseudo-inputs of a `VampPrior`, which is then the prior. They
            start at random training data and stay within the range of the training data.
        likelihood: called with the decoder; without it the support decides: binary data get
            `Bernoulli`, integer levels `Binomial`, 8-bit levels of pictures
            `DiscretizedLogisticMixture`, counts `NegativeBinomial` (with the size of each
            datapoint, where the data have sizes), [0, 1] `ContinuousBernoulli`, (0, 1) `Beta`,
            positive numbers `LogNormal`, the real line `Normal`, levels without order
            `Categorical`, and columns of different kinds `Columns` of these.
        posterior: called with the encoder.

    Raises:
        Unsupported: if no likelihood is known for the support and none is given, or the one that
            is given has no units that a dataset's standardization could set.
        ValueError: if `latent` is not positive, a prior is given besides pseudo-inputs, or there
            are fewer training data than pseudo-inputs.

    Example:
        >>> from ppvae import data
        >>> assemble(data.digits(), latent=2).likelihood.total_count
        16
    """
    parts = Parts(
        dataset, latent=latent, network=network, likelihood=likelihood, posterior=posterior
    )
    factor = parts.likelihood()
    approximate = parts.posterior()
    if pseudo_inputs is None:
        chosen = (prior or _prior_for(dataset))(latent)
    elif isinstance(approximate.network, EncoderInput):
        raise Unsupported(
            "pseudo-inputs are data without conditions, categories and missing cells; leave "
            "pseudo_inputs out, or take a prior such as NormalMixture"
        )
    elif prior is None:
        chosen = VampPrior(approximate, _from_training(parts, pseudo_inputs))
    else:
        raise ValueError("pseudo_inputs make a VampPrior; pass them or a prior, not both")
    return VAE(prior=chosen, likelihood=factor, posterior=approximate)


def _prior_for(dataset: Dataset) -> Callable[[int], Prior]:
    """Return the prior of a dataset: of data with given classes, a normal one of each class.

    From one prior of all classes, draws given a class would lie where the decoder has seen others.
    """
    labels, conditions = dataset.labels.get("train"), dataset.conditions.get("train", ())
    if labels is None or not conditions or conditions[0].dim() != 2:
        return StandardNormal
    if not torch.equal(conditions[0].argmax(1), labels.long()):
        return StandardNormal
    classes = conditions[0].shape[1]
    layer = ConditionalFullRankNormal.layer
    return lambda latent: ConditionalFullRankNormal(First(layer(classes, latent)))


def _from_training(parts: Parts, count: int) -> PseudoInputs:
    train, scaling = parts.dataset.train, parts.scaling
    if not 1 <= count <= len(train):
        raise ValueError(
            f"pseudo_inputs must be between 1 and the {len(train)} training data, got {count}"
        )
    rows = train[torch.randperm(len(train))[:count]]
    if scaling is not None:
        rows, train = scaling(rows), scaling(train)
    return PseudoInputs.from_data(rows, (float(train.min()), float(train.max())), parts.units)
