"""What the draws of `refine` say of log P(X), as `evidence` and `pareto_k` say it."""

import numpy as np
import xarray as xr

from ppvae.diagnostics.given_posterior import GivenPosterior

_TAILS = ("pareto_k", "pooled_k", "trusted", "effective_sample_size")


def of_posterior(terms: xr.Dataset, posterior: GivenPosterior) -> xr.Dataset:
    """Replace the terms that the tails of the guide's weights decide by those of other draws.

    Args:
        terms: what `evidence` measured by the guide's draws.
        posterior: draws for the same datapoints.

    Returns:
        All variables of `terms`. The errors of the two sides of `posterior_kl` are taken as
        independent; where both are of the same draws, they are smaller.
    """
    table = _named_as_evidence(posterior)
    error = np.hypot(table.log_evidence_error.values, terms.elbo_error.values)
    replaced = {
        name: ("data", table[name].values)
        for name in ("log_evidence", "log_evidence_error", "unseen", *_TAILS)
    }
    replaced["posterior_kl"] = ("data", table.log_evidence.values - terms.elbo.values)
    replaced["posterior_kl_error"] = ("data", error)
    return terms.assign(replaced).assign_attrs(
        draws=table.attrs["draws"],
        threshold=table.attrs["threshold"],
        guide_draws=terms.attrs["draws"],
    )


def tails_of(posterior: GivenPosterior) -> xr.Dataset:
    """Return what `pareto_k` does, of the posterior's own draws."""
    table = _named_as_evidence(posterior)
    attrs = {name: table.attrs[name] for name in ("draws", "threshold")}
    tails = table[list(_TAILS)]
    tails.attrs = attrs
    return tails


def _named_as_evidence(posterior: GivenPosterior) -> xr.Dataset:
    table = posterior.table
    return table.assign(pooled_k=table.pareto_k)
