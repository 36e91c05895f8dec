"""Log densities of a pair by datapoint, discrete sites summed out where they are enumerated."""

import math
from collections.abc import Callable

from torch import Tensor

from ppvae.engine.densities import Weight, log_density, log_prob
from ppvae.engine.enumerated_sites import support_of
from ppvae.engine.enumeration.sums import Factors
from ppvae.engine.layout import Layout
from ppvae.engine.sites import PLATE, Site, Sites, plates


def guide_density(guide: Sites, layout: Layout, rows: int, draws: int | None) -> Tensor:
    """Return log q(z|x), the guide's enumerated sites summed out: `(draw, data)`, in nats.

    The arguments are those of `model_densities`.
    """
    if not layout.enumerated:
        return log_density(guide.values(), layout, rows, draws)
    return factors(guide, layout, draws).total(guide)


def factors(sites: Sites, layout: Layout, draws: int | None) -> Factors:
    """Return the log densities of sites as factors of which some sites can be summed out."""
    return Factors(sites, log_prob, None if draws is None else layout.draw_dim)


_LARGEST = 4096  # values of all summed-out sites together that are looked at at once


def at_once(model: Sites, layout: Layout) -> bool:
    """Tell whether all values of the summed-out sites can stand left of draws and datapoints.

    They cannot where a site stands in an inner plate, since the sum is inside the product over it,
    and where sites share a dimension (`pyro.markov`).
    """
    sites = [model[name] for name in layout.marginalized]
    dims = {site["infer"].get("_enumerate_dim") for site in sites}
    outer = all(
        frame.name == PLATE or frame.dim == layout.draw_dim
        for site in sites
        for frame in plates(site)
    )
    if layout.enumerated or not outer or len(dims) < len(sites):
        return False
    return math.prod(len(support_of(site)) for site in sites) <= _LARGEST


def joint_densities(
    model: Sites, layout: Layout, rows: int, draws: int | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return log p(z) and log p(x_i|z) of each observed site: `(*enumerated, draw, data)`.

    The arguments are those of `model_densities`.
    """
    prior = [site for site in model.values() if not site["is_observed"]]
    return log_density(prior, layout, rows, draws), {
        name: log_density([model[name]], layout, rows, draws) for name in layout.observed
    }


def model_densities(
    model: Sites, layout: Layout, rows: int, draws: int | None
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Read log p(z), log p(x, z) and log p(x_i|z) of each observed site, discrete ones summed out.

    Args:
        model: the model's sites, enumerated where some are to be summed out.
        layout: how the pair's sites stand in its plates.
        rows: number of datapoints.
        draws: number of draws at once, or None for one without a dimension of its own.

    Returns:
        In nats, `(draw, data)` each.

    Raises:
        Unsupported: if the summed-out sites depend on each other across plates of which none
            contains the other.
    """
    if layout.marginalized and not at_once(model, layout):
        terms = factors(model, layout, draws)
        prior = [name for name, site in model.items() if not site["is_observed"]]
        log_prior = terms.total(prior)
        return (
            log_prior,
            terms.total(model),
            {name: terms.total([*prior, name]) - log_prior for name in layout.observed},
        )
    log_prior, log_likelihoods = joint_densities(model, layout, rows, draws)
    observed = list(log_likelihoods.values())
    log_joint = log_prior + sum(observed[1:], start=observed[0])
    if layout.marginalized:
        joints = {name: log_prior + values for name, values in log_likelihoods.items()}
        log_joint, log_prior = marginal(log_joint), marginal(log_prior)
        log_likelihoods = {name: marginal(values) - log_prior for name, values in joints.items()}
    return log_prior, log_joint, log_likelihoods


def joint_density(
    model: Sites,
    layout: Layout,
    rows: int,
    draws: int | None,
    weight: Callable[[Site], Weight],
) -> Tensor:
    """Return log p(x, z), discrete sites summed out: `(draw, data)`, in nats.

    Args:
        model: the model's sites, enumerated where some are to be summed out.
        layout: how the pair's sites stand in its plates.
        rows: number of datapoints.
        draws: number of draws at once, or None for one without a dimension of its own.
        weight: factor of each site's log density; all are 1 where sites are summed out.

    Raises:
        Unsupported: as `model_densities` says.
    """
    if layout.marginalized and not at_once(model, layout):
        return factors(model, layout, draws).total(model)
    return marginal(log_density(model.values(), layout, rows, draws, weight))


def marginal(log_density: Tensor) -> Tensor:
    """Sum enumerated sites, left of draws and data, out of a log density: `(draw, data)`."""
    enumerated = list(range(log_density.dim() - 2))
    return log_density.logsumexp(enumerated) if enumerated else log_density
