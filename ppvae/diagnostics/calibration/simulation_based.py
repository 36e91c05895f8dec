"""Is the guide calibrated? Simulation-based calibration, on data simulated from the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr
from torch import Tensor

from ppvae.diagnostics.calibration.ranks import SimulatedRanks, simulated_ranks
from ppvae.diagnostics.export import result_group
from ppvae.diagnostics.rank_tests import (
    holm,
    map_columns,
    site_dataset,
    symmetry_p_values,
    uniform_band,
    uniform_p_values,
)
from ppvae.engine import MEMORY, Data, Pair, Unsupported, adapted, refuse_without_latents

ON_SIMULATED_DATA = {"tests": "the guide on data simulated from the model, not on real data"}


@dataclass(frozen=True)
class SBC:
    """What `sbc` measures, on data simulated from the model, not on real data.

    Args:
        ranks: of the true value among the draws, 0 to draws, for each coordinate of each latent
            site and for `log_joint`; dims `(simulation, ...)`.
        p_value: of the test that the ranks are uniform, for each of these quantities.
        p_value_adjusted: p-values after Holm's correction for the number of quantities: reject
            where one is below alpha.
    """

    ranks: xr.Dataset
    p_value: xr.Dataset
    p_value_adjusted: xr.Dataset

    def band(self, probability: float = 0.99) -> xr.Dataset:
        """Return the `uniform_band` of this number of ranks, which `plots.rank_ecdf` draws."""
        draws = self.ranks.attrs["draws"]
        return uniform_band(self.ranks.sizes["simulation"], draws, probability)

    def to_arviz(self) -> Any:
        """Return the group `prior_sbc`, which `plot_ecdf_pit` of ArviZ 1.x reads.

        It holds (rank + 1/2) / (draws + 1), between 0 and 1; ArviZ's `draw` is the simulation.

        Returns:
            `arviz.InferenceData` with ArviZ 0.x, `xarray.DataTree` with ArviZ 1.x.
        """
        values = (self.ranks + 0.5) / (self.ranks.attrs["draws"] + 1)
        return result_group("prior_sbc", values.assign_attrs(self.ranks.attrs), "simulation")


@dataclass(frozen=True)
class VSBC:
    """What `vsbc` measures, on data simulated from the model, not on real data.

    Args:
        probability: Pr(z_true < z) under q(z|x), for each coordinate of each latent site; dims
            `(simulation, ...)`.
        p_value: of the test that it is distributed symmetrically about 1/2, for each coordinate.
        p_value_adjusted: p-values after Holm's correction for the number of quantities: reject
            where one is below alpha.
    """

    probability: xr.Dataset
    p_value: xr.Dataset
    p_value_adjusted: xr.Dataset

    def to_arviz(self) -> Any:
        """Return the group `vsbc`: Pr(z_true < z); ArviZ's `draw` is the simulation.

        Returns:
            `arviz.InferenceData` with ArviZ 0.x, `xarray.DataTree` with ArviZ 1.x.
        """
        return result_group("vsbc", self.probability, "simulation")


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
    quantities shapes sensitivity", 2023). Equal values, as those of discrete latents, are ranked
    in random order. Uniformity is tested exactly, by `uniform_p_values`; `p_value_adjusted` is
    corrected for the number of quantities by `holm`.

    It tests the guide on data simulated from the model. It does not test whether the model fits
    real data, nor the guide on data that are unlikely under the model.

    Args:
        pair: any pair.
        data: `(data, *event)`, a template: the model runs on its rows, repeated as needed; its
            observations are replaced by simulated ones, all else (masks, labels, conditions) is
            kept; of a dataset, the test split.
        simulations: number of datapoints simulated.
        draws: number of draws for each.
        seed: of simulations and draws.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar after some seconds; only on a terminal, unless given.

    Raises:
        Unsupported: if the pair's structure does not allow it, or the model cannot be simulated
            (a pseudo-likelihood, an improper prior); the message says why.
        ValueError: if `simulations`, `draws` or `memory` is below 1.

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
    pair, batch = adapted(pair, data, split="test", seed=seed)
    drawn = simulated_ranks(
        pair, batch, simulations, draws, seed=seed, memory=memory, progress=progress
    )
    return sbc_of(drawn)


def sbc_of(simulated: SimulatedRanks) -> SBC:
    """Test that the ranks of latents and of log p(x, z) are uniform."""
    draws = simulated.draws
    values = with_joint_quantity(simulated.latents, "log_joint", simulated.log_joint)
    attrs = ON_SIMULATED_DATA | {"draws": draws}
    ranks = site_dataset(values, "simulation", simulated.structure, attrs)
    p_value = map_columns(ranks, "simulation", lambda columns: uniform_p_values(columns, draws))
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

    If the guide's scale is wrong, the distribution of P is U-shaped or has a peak at 1/2. If its
    center is wrong on average, the distribution is asymmetric about 1/2: P is mostly below 1/2
    where the center is too low (Yao, Vehtari, Simpson and Gelman, "Yes, but did it work?:
    evaluating variational inference", 2018). P is estimated from draws. Symmetry is tested
    exactly, by `symmetry_p_values`; Yao et al. compare P with 1 - P by a test for independent
    samples. `p_value_adjusted` is corrected for the number of coordinates by `holm`. A skewed
    posterior fails the test under any symmetric guide.

    It tests the guide on data simulated from the model, not on real data.

    Args:
        pair: any pair.
        data: `(data, *event)`, a template, as of `sbc`; of a dataset, the test split.
        simulations: number of datapoints simulated.
        draws: number of draws for each.
        seed: of simulations and draws.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar after some seconds; only on a terminal, unless given.

    Raises:
        Unsupported, ValueError: as `sbc` does.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> result = vsbc(pairs.assemble(digits, latent=2), digits.test[:5], simulations=100)
        >>> result.probability.z.dims, result.p_value.z.shape
        (('simulation', 'z_dim_0'), (2,))
    """
    pair, batch = adapted(pair, data, split="test", seed=seed)
    drawn = simulated_ranks(
        pair, batch, simulations, draws, seed=seed, memory=memory, progress=progress
    )
    return vsbc_of(drawn)


def vsbc_of(simulated: SimulatedRanks) -> VSBC:
    """Test that the ranks of latents are distributed symmetrically about their center.

    Raises:
        Unsupported: if the guide draws no latent of a single datapoint.
    """
    refuse_without_latents(simulated.structure)
    draws = simulated.draws
    attrs = ON_SIMULATED_DATA | {"draws": draws}
    ranks = site_dataset(simulated.latents, "simulation", simulated.structure, attrs)
    p_value = map_columns(
        ranks, "simulation", lambda columns: symmetry_p_values(draws - 2 * columns)
    )
    return VSBC((1 - ranks / draws).assign_attrs(attrs), p_value, holm(p_value))


def with_joint_quantity(
    latents: Mapping[str, Tensor], name: str, values: Tensor
) -> dict[str, Tensor]:
    """Add a quantity of all latents together to the quantities of each site.

    Raises:
        Unsupported: if a site has the name of the quantity.
    """
    if name in latents:
        raise Unsupported(
            f"latent site {name!r} has the name of a quantity that is measured next to the "
            "latents; rename it"
        )
    return {**latents, name: values}
