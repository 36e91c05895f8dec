"""A VAE of data with gaps, which fills them in."""

from collections.abc import Callable
from dataclasses import replace
from typing import Self

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppvae.data import Categories, Dataset, filling
from ppvae.engine import MEMORY, Array, adapted, as_tensor, isolated, predicted_features
from ppvae.likelihoods import Likelihood, Masked
from ppvae.networks import ResidualMLP
from ppvae.pairs.families import parts_of
from ppvae.pairs.imputed_cells import ImputedCells, RefinedDraws
from ppvae.pairs.parts import Parts
from ppvae.pairs.programs import evaluating
from ppvae.pairs.vae import VAE
from ppvae.posteriors import DiagonalNormal, Posterior
from ppvae.priors import Prior, StandardNormal


class MissingDataVAE(VAE):
    """The VAE of what is known of each datapoint, p(z) p(x_seen|z), with the guide q(z|x_seen).

        log p(x_seen) >= E_q[log p(x_seen|z)] - KL[q(z|x_seen) || p(z)]

    (Mattei and Frellsen, "MIWAE: Deep Generative Modelling and Imputation of Incomplete Data
    Sets", 2019; their bound is `fit(..., objective=inference.ImportanceWeighted_ELBO(20))`.)
    Missing cells enter neither the objective nor its gradients. This is right if a cell's being
    missing does not depend on its value, given what is seen (Rubin, "Inference and missing
    data", 1976).

    A batch is x alone, `(data, *event)`, where NaN marks a missing cell; or `(x, seen)`, with
    conditions in between if there are any, where seen is 1 or 0 and other cells of x may hold
    anything. The factors get x with a value of the support in place of missing cells, and `seen`
    as their last condition. Infinite values are refused by `fit` and diagnostics.

    Args:
        prior: p(z).
        likelihood: p(x|z) with cells that are independent given z, or `Columns(masked=True)`.
        posterior: q(z|x, seen), with a network such as `networks.Joined` or `EncoderInput`.

    Raises:
        TypeError: if a factor is not of its role.
        ValueError: if prior and posterior have different supports; when called, if the cells of
            the likelihood are not independent, or `seen` is not of the shape of x.

    Example:
        >>> from ppvae import data
        >>> gaps = data.wine(missing=0.2)
        >>> pair = MissingDataVAE.of(gaps, latent=2)
        >>> filled = pair.impute(*gaps.batch("test"), draws=100)
        >>> filled.value.shape, bool((filled.low <= filled.high).all())
        (torch.Size([17, 13]), True)
    """

    missing_as_nan = True
    fill: Tensor

    def __init__(self, prior: Prior, likelihood: Likelihood, posterior: Posterior) -> None:
        masked = isinstance(likelihood, Masked) or getattr(likelihood, "masked", False)
        if isinstance(likelihood, Likelihood) and not masked:
            likelihood = Masked(likelihood)
        super().__init__(prior, likelihood, posterior)
        groups = parts_of(likelihood.support, 1)
        fill = [torch.full((length,), filling(support)) for support, length in groups]
        self.register_buffer("fill", torch.cat(fill), persistent=False)

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
    ) -> Self:
        """Build the pair for a dataset, of which cells may be missing; one datapoint is a vector.

        Args:
            dataset: the data; where its `seen` says nothing, all cells are known.
            latent: number of latent dimensions.
            network: called with the sizes of input and output, for encoder and decoder.
            prior: called with `latent`.
            likelihood: called with the decoder; without it the support decides.
            posterior: called with the encoder.

        Raises:
            ValueError: if `latent` is not positive.
            Unsupported: if no likelihood is known for the support.
        """
        if not dataset.seen:
            dataset = replace(dataset, seen={"train": torch.ones_like(dataset.train)})
        parts = Parts(
            dataset, latent=latent, network=network, likelihood=likelihood, posterior=posterior
        )
        return cls(prior(latent), parts.likelihood(), parts.posterior())

    def taken(self, x: Tensor, *conditions: Tensor) -> tuple[Tensor, ...]:
        """Return x without gaps, the conditions, and which cells are known, 1 or 0."""
        *given, seen = conditions or (torch.ones_like(x),)
        if seen.shape != x.shape:
            raise ValueError(
                "MissingDataVAE needs its last tensor, which says what is known, to be of the "
                f"shape of x, {tuple(x.shape)}, got {tuple(seen.shape)}"
            )
        known = ~x.isnan() & (seen > 0)
        filled = torch.where(known, x, self.fill.to(x.device))
        return super().taken(filled, *given, known.to(filled.dtype))

    def encode(self, x: Array, *conditions: Array) -> dist.Distribution:
        """Return q(z|x_seen) for x with NaN where a cell is missing, or x, conditions and seen."""
        return super().encode(*self.taken(as_tensor(x, "x"), *map(as_tensor, conditions)))

    def decode(self, z: Array, *conditions: Array) -> dist.Distribution:
        """Return p(x|z) of all cells, for `z` of shape `(*, latent)`, given conditions."""
        return super().decode(z, *conditions, self._all(1))

    def sample(self, n: int, *conditions: Array) -> Tensor:
        """Draw `n` complete datapoints from p(x): `(n, *event)`; given conditions, of each row."""
        x = super().sample(n, *conditions, self._all(len(conditions[0]) if conditions else 1))
        return x if conditions else x.squeeze(1)

    @torch.no_grad()
    def reconstruct(self, x: Array, *conditions: Array) -> Tensor:
        """Return the mean of p(x|z), all cells, at one draw z of q(z|x_seen)."""
        with evaluating(self):
            z = self.encode(x, *conditions).sample()
            mean: Tensor = self.decode(z, *conditions[:-1]).mean
        return mean

    def _all(self, rows: int) -> Tensor:
        return torch.ones(rows, *[1] * self.likelihood.event_dim)

    def impute(
        self,
        x: Array,
        *conditions: Array,
        draws: int = 1000,
        imputations: int = 0,
        interval: float = 0.9,
        refined: RefinedDraws | None = None,
        seed: int = 0,
        memory: int = MEMORY,
    ) -> ImputedCells:
        """Fill in missing cells by p(x_missing|x_seen), with intervals.

            sum_k w_k p(x_missing|z_k) / sum_k w_k,    w_k = p(x_seen, z_k) / q(z_k|x_seen)

        `answers.impute` does this for tables with names and kinds of columns.

        Args:
            x: datapoints with NaN where a cell is missing, or any value where `seen` is 0.
            conditions: conditions, if there are any, and `seen`.
            draws: how many of each datapoint.
            imputations: so many draws of all missing cells of a row together, too (Rubin,
                "Multiple Imputation for Nonresponse in Surveys", 1987).
            interval: the probability of the intervals.
            refined: what `ppvae.refine` returned for these datapoints, whose draws are taken in
                place of the guide's.
            seed: of the draws.
            memory: bound in bytes on the intermediate tensors.

        Raises:
            ValueError: if a number is too small, or the data are not valid.
        """
        if not 0 < interval < 1 or imputations < 0:
            raise ValueError(
                f"impute needs an interval between 0 and 1 and imputations >= 0, got {interval} "
                f"and {imputations}"
            )
        own, batch = adapted(self, (x, *conditions), split="test", in_chunks=True)
        with evaluating(self), isolated(own, seed):
            features = predicted_features(
                own,
                batch,
                levels=self._levels(batch[0][0].numel()),
                draws=draws,
                imputations=imputations,
                interval=interval,
                seed=seed,
                memory=memory,
                given=None if refined is None else refined.weighted,
                log_weights=None if refined is None else refined.log_weights,
            )
            filled, *_, seen = self.taken(*batch)
        return ImputedCells.of(features, filled, seen > 0)

    def _levels(self, features: int) -> dict[int, int]:
        """Return how many levels the features that are categories have, by their place."""
        kinds = [part for part, n in parts_of(self.likelihood.support, features) for _ in range(n)]
        levels = {place: k for place, k in enumerate(kinds) if isinstance(k, Categories)}
        return {place: int(kind.upper_bound) + 1 for place, kind in levels.items()}
