"""log P(X) by annealed importance sampling, and bounds of it from both sides."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ppvae.diagnostics.failed_rows import sound
from ppvae.diagnostics.progress import tqdm_options
from ppvae.engine import (
    MEMORY,
    Batch,
    Data,
    Pair,
    Unsupported,
    as_batch,
    draw_chunks,
    isolated,
    log_mean_exp,
    mean_error,
    refuse_unnormalized,
    simulated_sites,
    vectorizable,
)
from ppvae.refinement import Annealing, Chains, GuideStart, PriorStart, sigmoid_schedule

_COPIES = 3  # of the tensors of one run, kept while a gradient is computed


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
    datapoint and temperature are tuned in a pilot run of 16 separate chains, and then fixed: w is
    unbiased for any step sizes. The pilot costs about a tenth of 1000 temperatures.

    - `log_evidence` = log mean w. Its expectation lies below log P(X), by about half its squared
      standard error where that is small, and by more where the chains did not follow the path;
    - `log_evidence_error`: its standard error, from the spread of the chains' weights (delta
      method). With few chains it is itself uncertain; for a single one it is NaN;
    - `effective_sample_size` = (sum w)^2 / sum w^2, between 1 and the number of chains;
    - `acceptance`: mean rate at which trajectories were accepted; the pilot aims at 0.65 for the
      harmonic mean over chains, so this is higher. NaN with one temperature, which has no
      trajectories;
    - `log_weight`: log w of each chain.

    One temperature is plain importance sampling from f_0. Factors of plates and of
    `poutine.scale` are left out, masks are applied, and discrete latents that only the model has
    are summed out.

    Args:
        pair: any pair whose latents are continuous and stand inside `pyro.plate("data", ...)`.
        data: `(data, *event)`; of a dataset, the test split.
        temperatures: the number T of densities after the first, the posterior among them.
        chains: number of chains per datapoint.
        from_guide: start from the guide q(z|x), else from the prior p(z). A guide that misses a
            part of the posterior may keep its chains out of it; the prior does not.
        leapfrogs: leapfrog steps, and so gradients, of a trajectory.
        seed: of the chains and the pilot run.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        A dataset in nats, dims `(data,)` and for `log_weight` `(chain, data)`.

    Raises:
        Unsupported: if a latent is discrete, or has no unconstrained space, or one that depends on
            other latents; if the guide has no density to start from; if the pair is a
            pseudo-likelihood, or its weights are NaN. The message names the site.
        ValueError: if a number is below 1, or the data are not valid.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> ais(pair, digits.test[:2], temperatures=5, chains=4, leapfrogs=2).log_weight.sizes
        Frozen({'chain': 4, 'data': 2})
    """
    batch = as_batch(data, pair, split="test")
    _check(temperatures=temperatures, chains=chains, leapfrogs=leapfrogs, memory=memory)
    start = GuideStart() if from_guide else PriorStart()
    annealing = Annealing(start, temperatures, chains, leapfrogs)
    schedule = sigmoid_schedule(temperatures)
    kept = sound(pair, batch)
    weights, rates = [], []
    with isolated(pair, seed):
        for group in _chains(pair, kept.batch, annealing, 1, memory, progress):
            sizes, path = group.step_sizes(), group.path(chains)
            log_weights, rate = group.run(path, path.draw(), schedule, sizes)
            weights.append(log_weights)
            rates.append(rate.mean(0))
    log_weights = torch.cat(weights, dim=1)
    log_evidence, error = log_mean_exp(log_weights)
    relative = log_weights.softmax(0)
    table = xr.Dataset(
        {
            "log_evidence": ("data", _array(log_evidence)),
            "log_evidence_error": ("data", error.cpu().numpy()),
            "effective_sample_size": ("data", (1 / relative.square().sum(0)).cpu().numpy()),
            "acceptance": ("data", torch.cat(rates).cpu().numpy()),
            "log_weight": (("chain", "data"), _array(log_weights)),
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
    leapfrogs: int = 10,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> xr.Dataset:
    """Sandwich log P(X) of data simulated from the model: bidirectional Monte Carlo.

        E[lower] <= log P(X) <= E[upper]
        lower = log mean w of chains from the prior to the posterior
        upper = -log mean 1/w of the same chains run backwards, from the z that made X

    A simulated z is an exact draw of p(z|x) for the x simulated with it, so the chains of annealed
    importance sampling can also be run backwards from it (Grosse, Ghahramani and Adams,
    "Sandwiching the marginal likelihood using bidirectional Monte Carlo", 2015). Where the
    mean gap is small, `ais` from the prior with the same `temperatures`, `chains` and `leapfrogs`
    is as exact, on data like those the model generates. The guide is not used. Starting from a
    good guide would give tighter bounds.

    A model needs a batch to run: it gives shapes and everything that the model only reads, such as
    covariates or which values are missing. This is `data`. Its observations are replaced by
    simulated ones; simulation i takes row i of `data`, and starts again at the first row after the
    last. A model that also reads its observations elsewhere reads those of `data` there.

    Args:
        pair: any pair whose latents are continuous and stand inside `pyro.plate("data", ...)`.
        data: `(data, *event)`, the template; of a dataset, the test split.
        simulations: number of pairs (x, z) drawn from the model.
        temperatures: the number of densities from prior to posterior, as in `ais`.
        chains: number of chains forward, and as many backward, per simulation.
        leapfrogs: leapfrog steps of a trajectory.
        seed: of the simulations and the chains.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        A dataset in nats: `lower` and `upper`, dims `(simulation,)`; their means and that of
        their difference, `lower_mean`, `upper_mean` and `gap`, and the standard errors over
        simulations `lower_error`, `upper_error` and `gap_error`, NaN for a single one.

    Raises:
        Unsupported: as `ais` does, or if the model cannot be drawn from.
        ValueError: as `ais` does.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> rows = digits.test[:2]
        >>> bdmc(pair, rows, simulations=3, temperatures=5, chains=2, leapfrogs=2).lower.sizes
        Frozen({'simulation': 3})
    """
    template = as_batch(data, pair, split="test")
    _check(
        simulations=simulations,
        temperatures=temperatures,
        chains=chains,
        leapfrogs=leapfrogs,
        memory=memory,
    )
    rows = torch.arange(simulations) % len(template[0])
    batch = tuple(part[rows.to(part.device)] for part in template)
    annealing = Annealing(PriorStart(), temperatures, chains, leapfrogs)
    schedule = sigmoid_schedule(temperatures)
    lower, upper = [], []
    with isolated(pair, seed):
        for group in _chains(pair, batch, annealing, 2, memory, progress):
            drawn = simulated_sites(group.pair, group.batch, group.structure, None, {})
            observed = {name: drawn[name] for name in group.structure.observed}
            group = replace(group, observed=observed)
            sizes, path = group.step_sizes(), group.path(chains)
            forward, _ = group.run(path, path.draw(), schedule, sizes)
            latents = {name: path.ensemble.repeat(drawn[name]) for name in path.space.sites}
            back, _ = group.run(path, path.point(latents), schedule[::-1], sizes.flip(0))
            lower.append(log_mean_exp(forward)[0])
            upper.append(-log_mean_exp(back)[0])
    bounds = {"lower": torch.cat(lower), "upper": torch.cat(upper)}
    gap = bounds["upper"] - bounds["lower"]
    means = {"lower_mean": bounds["lower"], "upper_mean": bounds["upper"], "gap": gap}
    measured = xr.Dataset(
        {name: ("simulation", _array(values)) for name, values in bounds.items()},
        attrs={"units": "nats", "temperatures": temperatures, "chains": chains},
    )
    for name, values in means.items():
        measured[name] = float(values.mean())
        measured[f"{name.removesuffix('_mean')}_error"] = float(mean_error(values))
    return measured


def _chains(
    pair: Pair,
    batch: Batch,
    annealing: Annealing,
    runs: int,
    memory: int,
    progress: bool | None,
) -> Iterator[Chains]:
    """Cut the data into chunks whose chains stay within `memory`; show their progress."""
    transitions = annealing.pilot_transitions + runs * (annealing.temperatures - 1)
    vectorized = None
    with tqdm(
        total=len(batch[0]) * transitions,
        unit=" transitions",
        unit_scale=True,
        **tqdm_options(progress),
    ) as bar:
        share = max(1, memory // (_COPIES * annealing.chains))
        for chunk, structure, _ in draw_chunks(pair, batch, 1, share, compile=False):
            refuse_unnormalized(structure)
            if vectorized is None:
                vectorized = vectorizable(pair, chunk, structure)
            done = partial(bar.update, len(chunk[0]))
            yield Chains(annealing, pair, chunk, structure, vectorized, {}, done)


def _array(values: Tensor) -> NDArray[np.float64]:
    if bool(values.isnan().any()):
        raise Unsupported(
            f"{int(values.isnan().sum())} of {values.numel()} log weights are NaN; the pair's "
            "parameters or distributions are not finite"
        )
    array: NDArray[np.float64] = values.cpu().numpy()
    return array


def _check(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
