"""Is the guide calibrated? Simulation-based calibration, on data simulated from the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr
from torch import Tensor

from ppvae.diagnostics.calibration.ranks import SimulatedRanks, simulated_ranks
from ppvae.diagnostics.export import Variable, tree
from ppvae.diagnostics.rank_tests import (
    dataset,
    each,
    holm,
    symmetry_p_values,
    uniform_band,
    uniform_p_values,
)
from ppvae.engine import MEMORY, Data, Pair, as_batch

SIMULATED = {"tests": "the guide on data simulated from the model, not on real data"}


@dataclass(frozen=True)
class SBC:
    """What `sbc` measures, on data simulated from the model, not on real data.

    Args:
        ranks: of the true value among the draws, 0 to draws, for each coordinate of each latent
            site and for `log_joint`; dims `(simulation, ...)`.
        p_value: of the test that the ranks are uniform, for each of them.
        p_value_adjusted: the same, to be compared with the probability that any of an exact
            guide's is below.
    """

    ranks: xr.Dataset
    p_value: xr.Dataset
    p_value_adjusted: xr.Dataset

    def band(self, probability: float = 0.99) -> xr.Dataset:
        """Return what `uniform_band` says of as many ranks: for `plots.rank_ecdf`."""
        draws = self.ranks.attrs["draws"]
        return uniform_band(self.ranks.sizes["simulation"], draws, probability)

    def to_arviz(self) -> Any:
        """Return the group `prior_sbc`, which `plot_ecdf_pit` of ArviZ 1.x reads.

        It holds (rank + 1/2) / (draws + 1), between 0 and 1; ArviZ's `draw` is the simulation.

        Returns:
            `arviz.InferenceData` with ArviZ 0.x, `xarray.DataTree` with ArviZ 1.x.
        """
        variables = {}
        for name, ranks in self.ranks.items():
            values = (ranks.values + 0.5) / (self.ranks.attrs["draws"] + 1)
            dims = tuple(str(dim) for dim in ranks.dims[1:])
            variables[str(name)] = Variable(values, ("draw", *dims), dict(SIMULATED))
        return tree({"prior_sbc": variables}, {})


@dataclass(frozen=True)
class VSBC:
    """What `vsbc` measures, on data simulated from the model, not on real data.

    Args:
        probability: Pr(z_true < z) under q(z|x), for each coordinate of each latent site; dims
            `(simulation, ...)`.
        p_value: of the test that it is distributed symmetrically about 1/2, for each of them.
        p_value_adjusted: the same, to be compared with the probability that any of an unbiased
            guide's is below.
    """

    probability: xr.Dataset
    p_value: xr.Dataset
    p_value_adjusted: xr.Dataset


def sbc(
    pair: Pair,
    data: Data,
    *,
    simulations: int = 1000,
    draws: int = 99,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> SBC:
    """Simulation-based calibration: rank the z that x was simulated from among draws z_k ~ q(z|x).

        z ~ p(z),  x ~ p(x|z),    rank = #{k : f(z_k, x) < f(z, x)},  uniform if q(z|x) = p(z|x)

    Two kinds of f are ranked: each coordinate of each latent site (Talts, Betancourt, Simpson,
    Vehtari and Gelman, "Validating Bayesian inference algorithms with simulation-based
    calibration", 2018), and `log_joint`, log p(x, z). The former cannot see correlations that the
    guide lacks, the latter does (Modrák, Moon, Kim, Bürkner, Huurre, Faltejsková, Gelman and
    Vehtari, "Simulation-based calibration checking for Bayesian computation: the choice of test
    quantities shapes sensitivity", 2023). Values that are equal, as those of discrete latents, are
    ranked in random order. Uniformity is tested exactly, by `uniform_p_values`; `p_value_adjusted`
    makes up for the number of quantities, by `holm`.

    It tests the guide on data simulated from the model: it says nothing of whether the model fits
    real data, nor of the guide on data that the model would not make.

    Args:
        pair: any pair whose sites stand inside `pyro.plate("data", ...)`.
        data: `(data, *event)`, a template: the model runs on its rows over and over, its
            observations replaced by simulated ones, all else (masks, labels, conditions) left as
            it is; of a dataset, the test split.
        simulations: number of datapoints simulated.
        draws: number of draws for each.
        seed: of simulations and draws.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar after some seconds; only on a terminal, unless given.

    Raises:
        ValueError: if the pair's structure does not allow it, or nothing can be simulated from the
            model (a pseudo-likelihood, an improper prior); the message says why.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> result = sbc(pair, digits.test[:5], simulations=100, draws=19)
        >>> sorted(result.ranks), result.ranks.z.dims
        (['log_joint', 'z'], ('simulation', 'z_dim_0'))
        >>> result.p_value_adjusted.z.shape
        (2,)
    """
    batch = as_batch(data, pair, split="test")
    drawn = simulated_ranks(
        pair, batch, simulations, draws, seed=seed, memory=memory, progress=progress
    )
    return sbc_of(drawn)


def sbc_of(simulated: SimulatedRanks) -> SBC:
    """Test that the ranks of latents and of log p(x, z) are uniform."""
    draws = simulated.draws
    values = joined(simulated.latents, "log_joint", simulated.log_joint)
    ranks = dataset(values, "simulation", simulated.structure, SIMULATED | {"draws": draws})
    p_value = each(ranks, "simulation", lambda columns: uniform_p_values(columns, draws))
    return SBC(ranks, p_value, holm(p_value))


def vsbc(
    pair: Pair,
    data: Data,
    *,
    simulations: int = 1000,
    draws: int = 99,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> VSBC:
    """Variational simulation-based calibration: is the guide's center biased?

        z ~ p(z),  x ~ p(x|z),    P = Pr(z < z') for z' ~ q(z|x)

    A guide whose scale is wrong makes the distribution of P shaped like a cup or a cap; one whose
    center is wrong on average makes it asymmetric about 1/2: mostly below where it lies too low
    (Yao, Vehtari, Simpson and Gelman, "Yes, but did it work?: evaluating variational inference",
    2018). P is measured by draws; symmetry is tested exactly, by `symmetry_p_values`, where Yao et
    al. compare P with 1 - P by a test for independent samples. `p_value_adjusted` makes up for the
    number of coordinates, by `holm`. A posterior that is skew fails under any symmetric guide.

    It tests the guide on data simulated from the model, not on real data.

    Args:
        pair: any pair whose sites stand inside `pyro.plate("data", ...)`.
        data: `(data, *event)`, a template, as of `sbc`; of a dataset, the test split.
        simulations: number of datapoints simulated.
        draws: number of draws for each.
        seed: of simulations and draws.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar after some seconds; only on a terminal, unless given.

    Raises:
        ValueError: as `sbc` does.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> result = vsbc(pairs.assemble(digits, latent=2), digits.test[:5], simulations=100)
        >>> result.probability.z.dims, result.p_value.z.shape
        (('simulation', 'z_dim_0'), (2,))
    """
    batch = as_batch(data, pair, split="test")
    drawn = simulated_ranks(
        pair, batch, simulations, draws, seed=seed, memory=memory, progress=progress
    )
    return vsbc_of(drawn)


def vsbc_of(simulated: SimulatedRanks) -> VSBC:
    """Test that the ranks of latents are distributed symmetrically about their midst."""
    draws = simulated.draws
    attrs = SIMULATED | {"draws": draws}
    ranks = dataset(simulated.latents, "simulation", simulated.structure, attrs)
    p_value = each(ranks, "simulation", lambda columns: symmetry_p_values(draws - 2 * columns))
    return VSBC((1 - ranks / draws).assign_attrs(attrs), p_value, holm(p_value))


def joined(latents: Mapping[str, Tensor], name: str, values: Tensor) -> dict[str, Tensor]:
    """Put a quantity of all latents together beside each of them.

    Raises:
        ValueError: if a site has its name.
    """
    if name in latents:
        raise ValueError(
            f"latent site {name!r} has the name of a quantity that is measured next to the "
            "latents; rename it"
        )
    return {**latents, name: values}
