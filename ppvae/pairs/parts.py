"""The factors that suit a dataset: what pairs of any structure are built of."""

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
from ppvae.networks import Joined, ResidualMLP, Scaled, Standardized
from ppvae.pairs.families import family_for, observed_size, parts_of
from ppvae.pairs.preparation import prepared
from ppvae.posteriors import DiagonalNormal, Posterior

_ROWS = 10_000  # that the input of an encoder of counts is scaled by


class Parts:
    """Likelihood, posterior and networks for a dataset; what is not given follows from the data.

    Encoders take the data in their own units, levels one-hot; likelihoods give them so. Inside,
    real features have mean 0 and standard deviation 1 over the training data.

    Args:
        dataset: the data to be modeled; one datapoint is a vector.
        latent: number of latent dimensions.
        network: called with the sizes of input and output, for every network.
        likelihood: called with the decoder; without it the support decides.
        posterior: called with the encoder.
        given: how many numbers networks get beside x and z; those of the dataset's conditions
            unless given.

    Raises:
        Unsupported: if no likelihood is known for the support and none is given.
        ValueError: if `latent` is not positive.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        latent: int = 10,
        network: Callable[[int, int], nn.Module] = ResidualMLP,
        likelihood: Callable[[nn.Module], Likelihood] | None = None,
        posterior: Callable[[nn.Module], Posterior] = DiagonalNormal,
        given: int | None = None,
    ) -> None:
        if latent < 1:
            raise ValueError(f"latent must be at least 1, got {latent}")
        if isinstance(
            dataset.train, RowsOnDisk
        ):  # what is found from the data is that of a sample
            dataset = replace(dataset, train=dataset.train.sample()[:])
        if given is None:
            given = sum(part.shape[1] for part in dataset.conditions.get("train", ()))
        self.dataset, self.latent, self.network, self.given = dataset, latent, network, given
        self.features = math.prod(dataset.event_shape)
        self._own, self._posterior = likelihood, posterior
        self.scaling = dataset.standardization
        if self.scaling is None and likelihood is None and dataset.support is constraints.real:
            self.scaling = _scaling_of(dataset)
        self.units: Units | None = None
        if self.scaling is not None:
            self.units = Units.of(self.scaling.loc.flatten(), self.scaling.scale.flatten())
        self.family = likelihood or family_for(dataset, self.units)
        if likelihood is not None and dataset.seen:
            groups = [(self.features, likelihood)]
            self.family = functools.partial(Columns, groups=groups, masked=True)

    def likelihood(
        self, latent: int | None = None, inside: Callable[[nn.Module], nn.Module] | None = None
    ) -> Likelihood:
        """Return p(x|z), or p(x|z, given).

        Args:
            latent: size of z; that of the parts unless given.
            inside: what the decoder is put inside of; `Joined` unless given, where networks get
                more than z.
        """
        size = (latent or self.latent) + self.given
        # A factor without a network says how many outputs it needs, given its arguments.
        decoder = self.network(size, self.family(nn.Identity()).outputs_for(self.features))
        inside = inside or (Joined if self.given else None)
        factor = self.family(decoder if inside is None else inside(decoder))
        if self._own is not None and self.dataset.sizes:
            _give_size(factor, self.dataset)
        if self._own is not None and self.units is not None:
            _give_units(factor, self.units)
        return factor

    def posterior(self, latent: int | None = None) -> Posterior:
        """Return q(z|x), or q(z|x, given)."""
        outputs = self._posterior(nn.Identity()).outputs_for(latent or self.latent)
        return self._posterior(self.encoder(outputs))

    def encoder(self, outputs: int, given: int | None = None) -> nn.Module:
        """Return a network of x, and of what is given, with so many outputs.

        Args:
            outputs: its number.
            given: how many numbers it gets beside x; those of the parts unless given.
        """
        given = self.given if given is None else given
        dataset = self.dataset
        sparse = isinstance(dataset.train, SparseRows)
        levels = _has_levels_or_logs(dataset.support)
        if given or dataset.seen or sparse or dataset.sizes or levels:
            network = functools.partial(_with_outputs, self.network, outputs)
            return prepared(dataset, self.scaling, network, given)
        return self.in_units(self.network(self.features, outputs))

    def in_units(self, network: nn.Module) -> nn.Module:
        """Return a network of x in its own units, for one of values of unit scale."""
        if self.scaling is None:
            return _scaled(network, self.dataset)
        return Standardized.of(network, self.scaling.loc.flatten(), self.scaling.scale.flatten())


def _with_outputs(
    network: Callable[[int, int], nn.Module], outputs: int, inputs: int
) -> nn.Module:
    return network(inputs, outputs)


def _give_size(factor: Likelihood, dataset: Dataset) -> None:
    if not isinstance(factor, Counts):
        raise Unsupported(
            f"{type(factor).__name__} takes no size, which dataset {dataset.name!r} has; take "
            "a likelihood of counts, such as NegativeBinomial, or leave the sizes out"
        )
    if isinstance(factor.size, UnitSize):
        factor.size = observed_size(dataset)


def _give_units(factor: Likelihood, units: Units) -> None:
    for part in factor.families if isinstance(factor, Columns) else [factor]:
        if not isinstance(part, Normal | StudentT):
            raise Unsupported(
                f"{type(part).__name__} has no units; leave standardize out, or take Normal "
                "or StudentT"
            )
        part.units = units


def _scaling_of(dataset: Dataset) -> Standardization:
    """Return the scaling of real features: each its own, the pixels of images one in common."""
    train, seen = dataset.train, dataset.seen.get("train")
    if dataset.image_shape is None:
        return Standardization.of(train, seen)
    common = Standardization.of(
        train.reshape(-1, 1), None if seen is None else seen.reshape(-1, 1)
    )
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


def _has_levels_or_logs(support: constraints.Constraint) -> bool:
    parts = support.cseq if isinstance(support, constraints.cat) else [support]
    return any(isinstance(part, Categories) or part is constraints.positive for part in parts)
