"""log P(X) by annealed importance sampling, and bounds of it from both sides."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from ppvae.diagnostics.failed_rows import sound
from ppvae.diagnostics.marginal_likelihood.annealed_groups import Groups, Started, drawn
from ppvae.diagnostics.names import names_of
from ppvae.engine import (
    MEMORY,
    Data,
    Pair,
    Sites,
    Unsupported,
    adapted,
    isolated,
    log_mean_exp,
    mean_error,
    observing,
    of_sound_simulations,
    simulated_sites,
)
from ppvae.refinement import (
    Annealing,
    Chains,
    GuideStart,
    Path,
    Point,
    PriorStart,
    sigmoid_schedule,
)

_ACCEPTANCE = 0.5  # mean rate below which chains have not moved as the pilot run intended
_AGREEING = 4  # chains for each effective one, at most
_GAP = 0.1  # nats between the bounds from both sides that count as agreement


def ais(
    pair: Pair,
    data: Data,
    *,
    temperatures: int = 1000,
    chains: int = 16,
    from_guide: bool = True,
    leapfrogs: int = 10,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> xr.Dataset:
    """Measure log P(X) per datapoint by annealed importance sampling.

        f_t(z) = f_0(z)^(1 - t) p(x, z)^t,    0 = t_0 < t_1 < ... < t_T = 1
        log w = sum over k of log f_{t_k}(z_{k-1}) - log f_{t_{k-1}}(z_{k-1})
        log P(X) = log E[w],    estimated by log mean w over the chains

    Each chain begins at an exact draw z_0 of the guide or the prior, f_0, and z_k follows z_{k-1}
    by a Hamiltonian trajectory that leaves f_{t_k} invariant (Neal, "Annealed importance
    sampling", 2001; Wu, Burda, Salakhutdinov and Grosse, "On the quantitative analysis of
    decoder-based generative models", 2017). All datapoints and chains move together, on the
    latents' unconstrained space. The t_k follow a sigmoid, slow at both ends. Step sizes of each
    datapoint, temperature and coordinate are tuned in a pilot run of 16 separate chains, whatever
    the units of the latents, and then fixed: w is unbiased for any step sizes. The pilot costs
    about a tenth of 1000 temperatures.

    - `log_evidence` = log mean w. Its expectation lies below log P(X), and it exceeds log P(X) by
      b nats with a probability of at most exp(-b). How far it lies below, its standard error does
      not tell;
    - `log_evidence_error`: its standard error, from the spread of the chains' weights (delta
      method). With few chains it is itself uncertain; for a single one it is NaN;
    - `effective_sample_size` = (sum w)^2 / sum w^2, between 1 and the number of chains;
    - `acceptance`: mean rate at which trajectories were accepted; the pilot aims at 0.65 for the
      harmonic mean over chains, so this is higher. NaN with one temperature, which has no
      trajectories;
    - `converged`: False where the acceptance is below 0.5, or the effective sample size below a
      quarter of the chains, as for a single chain. True does not prove convergence: chains that
      all miss a part of the posterior agree with each other;
    - `log_weight`: log w of each chain.

    One temperature is plain importance sampling from f_0. Factors of plates and of
    `poutine.scale` are left out, masks are applied, and discrete latents that only the model has,
    or that the guide enumerates, are summed out. Where there is much to compute, the densities are
    captured as a graph or compiled, and all cores run them.

    Args:
        pair: any pair whose latents are continuous.
        data: `(data, *event)`; of a dataset, the test split.
        temperatures: the number T of densities after the first, the posterior among them.
        chains: number of chains per datapoint.
        from_guide: start from the guide q(z|x), else from the prior p(z). A guide that misses a
            part of the posterior may keep its chains out of it; the prior does not. Where the two
            differ by more than their errors, the higher value is the better one.
        leapfrogs: leapfrog steps, and so gradients, of a trajectory.
        seed: of the chains and the pilot run.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        A dataset in nats, dims `(data,)` and for `log_weight` `(chain, data)`. A datapoint at
        which the pair's distributions are not finite is NaN, and has not converged.

    Raises:
        Unsupported: if a latent is discrete, or has no unconstrained space, or one that depends on
            other latents; if the guide has no density to start from; if the pair is a
            pseudo-likelihood, or the weights of all datapoints are NaN. The message names the
            site.
        ValueError: if a number is below 1, or the data are not valid.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> ais(pair, digits.test[:2], temperatures=2, chains=4, leapfrogs=1).log_weight.sizes
        Frozen({'chain': 4, 'data': 2})
    """
    names = names_of(data, "test")
    pair, batch = adapted(pair, data, split="test", seed=seed)
    _check(temperatures=temperatures, chains=chains, leapfrogs=leapfrogs, memory=memory)
    start = GuideStart() if from_guide else PriorStart()
    annealing = Annealing(start, temperatures, chains, leapfrogs)
    schedule = sigmoid_schedule(temperatures)
    kept = sound(pair, batch, names)
    groups = Groups(annealing, 1, memory, seed, progress)

    def run(group: Started) -> tuple[Tensor, Tensor]:
        sizes, begun = group.annealed()
        return group.chains.run(begun.path, begun.point, schedule, sizes)

    with isolated(pair, seed):
        found = list(groups.annealed(pair, kept.batch, Started.of, run, fill=True))
    rows = len(kept.batch[0])
    log_weights, rates = (torch.cat(parts, dim=1)[:, :rows] for parts in zip(*found, strict=True))
    if bool(log_weights.isnan().any(0).all()):
        _refuse_nan(log_weights)
    log_evidence, error = log_mean_exp(log_weights)
    effective = 1 / log_weights.softmax(0).square().sum(0)
    acceptance = rates.mean(0).cpu().numpy()
    converged = accepted(acceptance) & (effective >= max(2, chains / _AGREEING)).cpu().numpy()
    table = xr.Dataset(
        {
            "log_evidence": ("data", log_evidence.cpu().numpy()),
            "log_evidence_error": ("data", error.cpu().numpy()),
            "effective_sample_size": ("data", effective.cpu().numpy()),
            "acceptance": ("data", acceptance),
            "converged": ("data", converged),
            "log_weight": (("chain", "data"), log_weights.cpu().numpy()),
        },
        attrs={"units": "nats", "temperatures": temperatures, "chains": chains},
    )
    return kept.spread(table)


def bdmc(
    pair: Pair,
    data: Data,
    *,
    simulations: int = 100,
    temperatures: int = 1000,
    chains: int = 16,
    from_guide: bool = False,
    leapfrogs: int = 10,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> xr.Dataset:
    """Sandwich log P(X) of data simulated from the model: bidirectional Monte Carlo.

        E[lower] <= log P(X) <= E[upper]
        lower = log mean w of chains from the prior, or the guide, to the posterior
        upper = -log mean 1/w of the same chains run backwards, from the z that made X

    A simulated z is an exact draw of p(z|x) for the x simulated with it, so the chains of annealed
    importance sampling can also be run backwards from it (Grosse, Ghahramani and Adams,
    "Sandwiching the marginal likelihood using bidirectional Monte Carlo", 2015). Where the
    mean gap is small, `ais` from the same start with the same `temperatures`, `chains` and
    `leapfrogs` is as exact, on data like those the model generates. The bounds hold in expectation
    only: a difference of single bounds can be negative.

    A model needs a batch to run: it gives shapes and everything that the model only reads, such as
    covariates or which values are missing. This is `data`. Its observations are replaced by
    simulated ones; simulation i takes row i of `data`, and starts again at the first row after the
    last. A model that also reads its observations elsewhere reads those of `data` there; from the
    guide it is refused. Rows of `data` that the pair fails on are no template, and from the guide
    simulations that it fails on are left out; warnings say how many.

    Args:
        pair: any pair whose latents are continuous.
        data: `(data, *event)`, the template; of a dataset, the test split.
        simulations: number of pairs (x, z) drawn from the model.
        temperatures: the number of densities from prior to posterior, as in `ais`.
        chains: number of chains forward, and as many backward, per simulation.
        from_guide: start from the guide q(z|x), else from the prior p(z).
        leapfrogs: leapfrog steps of a trajectory.
        seed: of the simulations and the chains.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        A dataset in nats.

        - `lower` and `upper`, dims `(simulation,)`; their means and that of their difference,
          `lower_mean`, `upper_mean` and `gap`, and the standard errors over simulations
          `lower_error`, `upper_error` and `gap_error`, NaN for a single one;
        - `acceptance`, dims `(simulation,)`: the lower of the two directions' mean rates of
          acceptance, NaN with one temperature;
        - `converged`: True if the mean gap with two of its standard errors lies within 0.1 nats of
          0, and the acceptance is at least 0.5 for every simulation. False for a single one.

    Raises:
        Unsupported: as `ais` does, or if the model cannot be drawn from; from the guide, also if
            the model observes what is no part of the data, or reads its own observations.
        ValueError: as `ais` does.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> rows = digits.test[:2]
        >>> bdmc(pair, rows, simulations=3, temperatures=2, chains=2, leapfrogs=1).lower.sizes
        Frozen({'simulation': 3})
    """
    names = names_of(data, "test")
    pair, whole = adapted(pair, data, split="test", seed=seed)
    template = sound(pair, whole, names).batch
    _check(
        simulations=simulations,
        temperatures=temperatures,
        chains=chains,
        leapfrogs=leapfrogs,
        memory=memory,
    )
    rows = torch.arange(simulations) % len(template[0])
    batch = tuple(part[rows.to(part.device)] for part in template)
    start = GuideStart() if from_guide else PriorStart()
    annealing = Annealing(start, temperatures, chains, leapfrogs)
    schedule = sigmoid_schedule(temperatures)
    groups = Groups(annealing, 2, memory, seed, progress)

    def start(chains: Chains) -> Simulated:
        return Simulated.simulated(chains, from_guide)

    def run(group: Simulated) -> tuple[Tensor, Tensor, Tensor]:
        sizes, begun = group.annealed()
        path, end = begun.path, group.end(begun.path)
        forward, up = group.chains.run(path, begun.point, schedule, sizes)
        back, down = group.chains.run(path, end, schedule[::-1], sizes.reversed())
        rate = torch.minimum(up.mean(0), down.mean(0))
        return log_mean_exp(forward)[0], -log_mean_exp(back)[0], rate

    with isolated(pair, seed):
        # Simulations from the guide may be left out, so that their places are not known.
        found = list(groups.annealed(pair, batch, start, run, fill=not from_guide))
    lower, upper, rates = (torch.cat(parts)[:simulations] for parts in zip(*found, strict=True))
    bounds = {"lower": lower, "upper": upper}
    for values in bounds.values():
        _refuse_nan(values)
    gap = bounds["upper"] - bounds["lower"]
    means = {"lower_mean": bounds["lower"], "upper_mean": bounds["upper"], "gap": gap}
    measured = xr.Dataset(
        {name: ("simulation", values.cpu().numpy()) for name, values in bounds.items()},
        attrs={"units": "nats", "temperatures": temperatures, "chains": chains},
    )
    for name, values in means.items():
        measured[name] = float(values.mean())
        measured[f"{name.removesuffix('_mean')}_error"] = float(mean_error(values))
    acceptance = rates.cpu().numpy()
    measured["acceptance"] = ("simulation", acceptance)
    agree = abs(float(measured.gap)) + 2 * float(measured.gap_error) <= _GAP
    measured["converged"] = bool(agree and accepted(acceptance).all())
    return measured


def accepted(acceptance: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell where enough trajectories were accepted; one temperature has none."""
    enough: NDArray[np.bool_] = ~(acceptance < _ACCEPTANCE)
    return enough


@dataclass(frozen=True)
class Simulated(Started):
    """The same of simulated datapoints.

    Args:
        sites: the run of the model that made them.
    """

    sites: Sites

    @classmethod
    def simulated(cls, chains: Chains, from_guide: bool) -> Self:
        """Simulate the datapoints of a group."""
        sites = simulated_sites(chains.pair, chains.batch, chains.structure, None, {})
        if from_guide:  # which reads the data too
            batch = observing(chains.pair, chains.batch, sites, chains.structure)
            batch, sites, structure = of_sound_simulations(chains.pair, batch, sites)
            chains = replace(chains, batch=batch, structure=structure)
        else:
            observed = {name: sites[name] for name in chains.structure.observed}
            chains = replace(chains, observed=observed)
        return cls(chains, *drawn(chains), sites)

    def end(self, path: Path) -> Point:
        """Return the latents that made the datapoints, exact draws of the posterior."""
        latents = {name: path.ensemble.repeat(self.sites[name]) for name in path.space.sites}
        return path.point(latents)


def _refuse_nan(values: Tensor) -> None:
    if bool(values.isnan().any()):
        raise Unsupported(
            f"{int(values.isnan().sum())} of {values.numel()} log weights are NaN; the pair's "
            "parameters or distributions are not finite"
        )


def _check(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
