"""Builds a VAE for a dataset."""

import functools
import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.data import Categories, Dataset, RowsOnDisk, SparseRows, Standardization
from ppvae.engine import Unsupported
from ppvae.likelihoods import Columns, Likelihood, Normal, StudentT, Units, UnitSize
from ppvae.likelihoods.counts import Counts
from ppvae.networks import EncoderInput, First, Joined, ResidualMLP, Scaled, Standardized
from ppvae.pairs.families import family_for, observed_size, parts_of
from ppvae.pairs.preparation import prepared
from ppvae.pairs.vae import VAE
from ppvae.posteriors import DiagonalNormal, Posterior
from ppvae.priors import (
    ConditionalFullRankNormal,
    Prior,
    PseudoInputs,
    StandardNormal,
    VampPrior,
)

_ROWS = 10_000  # that the input of an encoder of counts is scaled by


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
    if latent < 1:
        raise ValueError(f"latent must be at least 1, got {latent}")
    if isinstance(dataset.train, RowsOnDisk):  # what is found from the data is that of a sample
        dataset = replace(dataset, train=dataset.train.sample()[:])
    features = math.prod(dataset.event_shape)
    given = sum(part.shape[1] for part in dataset.conditions.get("train", ()))
    masked = bool(dataset.seen)
    scaling = dataset.standardization
    if scaling is None and likelihood is None and dataset.support is constraints.real:
        scaling = _scaling_of(dataset)
    units = None if scaling is None else Units.of(scaling.loc.flatten(), scaling.scale.flatten())
    build = likelihood or family_for(dataset, units)
    if likelihood is not None and masked:
        build = functools.partial(Columns, groups=[(features, likelihood)], masked=True)
    # A factor without a network says how many outputs it needs, given its arguments.
    decoder = network(latent + given, build(nn.Identity()).outputs_for(features))
    outputs = posterior(nn.Identity()).outputs_for(latent)
    sparse = isinstance(dataset.train, SparseRows)
    if given or masked or sparse or dataset.sizes or _has_levels_or_logs(dataset.support):
        encoder: nn.Module = prepared(dataset, scaling, lambda size: network(size, outputs))
    else:
        encoder = _scaled(network(features, outputs), dataset)
        if scaling is not None:
            encoder = Standardized.of(encoder, scaling.loc.flatten(), scaling.scale.flatten())
    approximate = posterior(encoder)
    if pseudo_inputs is None:
        chosen = (prior or _prior_for(dataset))(latent)
    elif isinstance(encoder, EncoderInput):
        raise Unsupported(
            "pseudo-inputs are data without conditions, categories and missing cells; leave "
            "pseudo_inputs out, or take a prior such as NormalMixture"
        )
    elif prior is None:
        chosen = VampPrior(approximate, _from_training(dataset, pseudo_inputs, scaling, units))
    else:
        raise ValueError("pseudo_inputs make a VampPrior; pass them or a prior, not both")
    factor = build(Joined(decoder) if given else decoder)
    if likelihood is not None and dataset.sizes:
        if not isinstance(factor, Counts):
            raise Unsupported(
                f"{type(factor).__name__} takes no size, which dataset {dataset.name!r} has; take "
                "a likelihood of counts, such as NegativeBinomial, or leave the sizes out"
            )
        if isinstance(factor.size, UnitSize):
            factor.size = observed_size(dataset)
    if likelihood is not None and units is not None:
        for part in factor.families if isinstance(factor, Columns) else [factor]:
            if not isinstance(part, Normal | StudentT):
                raise Unsupported(
                    f"{type(part).__name__} has no units; leave standardize out, or take Normal "
                    "or StudentT"
                )
            part.units = units
    return VAE(prior=chosen, likelihood=factor, posterior=approximate)


def _scaling_of(dataset: Dataset) -> Standardization:
    """Return the scaling of real features: each its own, the pixels of images one in common."""
    train = dataset.train
    if dataset.image_shape is None:
        return Standardization.of(train)
    common = Standardization.of(train.reshape(-1, 1))
    shape = dataset.event_shape
    return Standardization(common.loc.expand(shape), common.scale.expand(shape))


def _scaled(encoder: nn.Module, dataset: Dataset) -> nn.Module:
    """Return an encoder that takes data of a support other than the real line."""
    support = dataset.support
    counted = [
        torch.full((length,), part is constraints.nonnegative_integer)
        for part, length in parts_of(support, math.prod(dataset.event_shape))
    ]
    if isinstance(support, constraints.cat) or support is constraints.nonnegative_integer:
        return _standardized(encoder, dataset.train, torch.cat(counted))
    highest = float(getattr(support, "upper_bound", 1))
    return encoder if highest == 1 else Scaled(encoder, highest)


def _standardized(encoder: nn.Module, train: Tensor, counted: Tensor) -> Standardized:
    rows = train[:: max(1, len(train) // _ROWS)].double().flatten(1)
    by = Standardization.of(torch.where(counted, torch.log1p(rows.clamp(min=0)), rows))
    return Standardized.of(encoder, by.loc, by.scale, counted)


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


def _has_levels_or_logs(support: constraints.Constraint) -> bool:
    parts = support.cseq if isinstance(support, constraints.cat) else [support]
    return any(isinstance(part, Categories) or part is constraints.positive for part in parts)


def _from_training(
    dataset: Dataset, count: int, scaling: Standardization | None, units: Units | None
) -> PseudoInputs:
    train = dataset.train
    if not 1 <= count <= len(train):
        raise ValueError(
            f"pseudo_inputs must be between 1 and the {len(train)} training data, got {count}"
        )
    rows = train[torch.randperm(len(train))[:count]]
    if scaling is not None:
        rows, train = scaling(rows), scaling(train)
    return PseudoInputs.from_data(rows, (float(train.min()), float(train.max())), units)
