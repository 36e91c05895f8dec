"""What each method says of a pair: `refine`, importance sampling, annealing, NUTS."""

import time
import warnings

import numpy as np
import pyro
import torch
from pyro.infer import MCMC, NUTS
from pyro.ops import stats

import ppvae
from benchmarks.trust.judged import Said
from ppvae import diagnostics
from ppvae.engine import Unsupported, seeded

FEWEST, MOST = 10, 1000
"""Temperatures of annealing at equal time."""
FEW = 2
"""Datapoints that NUTS serves, one after the other."""
MIXED, INDEPENDENT = 1.01, 100
"""Split R-hat below which, and effective draws above which, chains of NUTS count as trusted."""


def refined(exact, seed, **options):
    """Return what `ppvae.refine` says."""
    began = time.perf_counter()
    found = ppvae.refine(exact.pair, exact.x, seed=seed, progress=False, **options)
    taken = time.perf_counter() - began
    table, rows = found.table, len(exact.x)
    return Said(
        trusted=table.trusted.values,
        seconds=taken,
        log_evidence=table.log_evidence.values,
        log_evidence_error=table.log_evidence_error.values,
        means=_by_row(found.means, rows),
        mean_errors=_by_row(found.mean_errors, rows),
        reasons=dict(found.refusals),
        levels=tuple(found.levels[int(place)] for place in table.level.fillna(0)),
    )


def importance(exact, seed):
    """Return what the guide's importance sampling says, which states no posterior means."""
    began = time.perf_counter()
    table = diagnostics.evidence(exact.pair, exact.x, seed=seed, progress=False)
    return Said(
        trusted=table.trusted.values,
        seconds=time.perf_counter() - began,
        log_evidence=table.log_evidence.values,
        log_evidence_error=table.log_evidence_error.values,
    )


def annealing(exact, seed, seconds):
    """Return what annealing from the prior says in about so many seconds, or None if refused."""
    try:
        pilot = _annealed(exact, seed, FEWEST)
        each = pilot.seconds / FEWEST
        temperatures = int(np.clip(seconds / each, FEWEST, MOST))
        return pilot if temperatures < 2 * FEWEST else _annealed(exact, seed, temperatures)
    except Unsupported:
        return None


def _annealed(exact, seed, temperatures):
    began = time.perf_counter()
    table = diagnostics.ais(
        exact.pair,
        exact.x,
        temperatures=temperatures,
        from_guide=False,
        seed=seed,
        progress=False,
    )
    return Said(
        trusted=table.converged.values,
        seconds=time.perf_counter() - began,
        log_evidence=table.log_evidence.values,
        log_evidence_error=table.log_evidence_error.values,
    )


def nuts(exact, seed, rows=FEW, warmup=100, draws=300):
    """Return what Pyro's NUTS says of the first few datapoints, or None where it does not run.

    It runs one chain for each datapoint, one after the other, and knows nothing of log P(X). The
    budget of other methods for a datapoint, some hundredths of a second, ends within its warmup:
    it gets as many draws as it needs, and the time is stated.
    """
    means, errors, trusted = {}, {}, []
    began = time.perf_counter()
    with seeded(seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for row in range(rows):
            x = exact.x[row : row + 1]
            pyro.clear_param_store()
            chain = MCMC(
                NUTS(exact.pair.model),
                num_samples=draws,
                warmup_steps=warmup,
                disable_progbar=True,
            )
            try:
                chain.run(x)
            except (NotImplementedError, ValueError, RuntimeError, KeyError):
                return None
            good = True
            for name, values in chain.get_samples(group_by_chain=True).items():
                values = values.reshape(1, draws, -1)
                effective = stats.effective_sample_size(values)
                hat = stats.split_gelman_rubin(values)
                good &= bool((hat < MIXED).all() and (effective > INDEPENDENT).all())
                means.setdefault(name, []).append(values.mean((0, 1)))
                error = values.std((0, 1)) / effective.clamp(min=1).sqrt()
                errors.setdefault(name, []).append(error)
            trusted.append(good)
    return Said(
        trusted=np.array(trusted),
        seconds=time.perf_counter() - began,
        means={name: torch.stack(value).numpy() for name, value in means.items()},
        mean_errors={name: torch.stack(value).numpy() for name, value in errors.items()},
    )


def _by_row(values, rows):
    return {name: value.detach().reshape(rows, -1).numpy() for name, value in values.items()}
