"""The draws of a pair and their densities, as ArviZ data."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ppvae.diagnostics.export.arviz_groups import Groups, Variable, arviz_data, to_numpy
from ppvae.diagnostics.export.pyro_svi import from_pyro_svi
from ppvae.diagnostics.failed_rows import SoundRows, sound
from ppvae.diagnostics.given_posterior import (
    GivenPosterior,
    check_given,
    drawn_from,
    with_its_latents,
)
from ppvae.diagnostics.names import names_of
from ppvae.engine import (
    MEMORY,
    Adapted,
    Data,
    Draws,
    Pair,
    Structure,
    adapted,
    draw_chunks,
    isolated,
    progress_bar,
)

_NATS = {"units": "nats"}


def to_arviz(
    pair: Pair,
    data: Data,
    *,
    posterior: GivenPosterior | None = None,
    draws: int = 100,
    predictive: bool = True,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> Any:
    """Draw z ~ q(z|x) for every datapoint; return draws, densities and data as ArviZ data.

    The groups have one chain of independent draws:

    - `posterior`: z ~ q(z|x);
    - `log_likelihood`: log p(x_i|z) of each observed site x_i, in nats, without masked entries;
    - `sample_stats`: `log_weight` = log p(x, z) - log q(z|x), in nats, as `weights` returns it;
    - `posterior_predictive`: x ~ p(x|z) at these draws;
    - `prior` and `prior_predictive`: z ~ p(z), x ~ p(x|z), independent draws for each datapoint;
    - `observed_data`.

    Dims are `(chain, draw, data)`, then the names of plates within the data plate, then
    `<site>_dim_0`, ... for the dimensions of one value. Discrete latents that only the model has,
    or that the guide enumerates, are summed out of all densities, separately for each observed
    site, and drawn from p(k | x, z) for `posterior_predictive`. Where a site has no density of the
    data (`pyro.factor`, a pseudo-likelihood), the attribute `pseudo_likelihood` of its log
    likelihood says why. `pyro.deterministic` sites are left out. A datapoint that the pair fails
    on is NaN in every group, and a warning names it.

    With `posterior`, what `refine` returns, z is drawn from p(z|x) as refined: `posterior`,
    `log_likelihood` and `posterior_predictive` are at draws of equal weight, and there is no
    `log_weight`.

    `memory` bounds the intermediate tensors, not the result: `posterior_predictive` holds
    draws x data values for each number in a datapoint.

    Args:
        pair: any pair.
        data: `(data, *event)`; of a dataset, the test split.
        posterior: what `refine` returned for these data.
        draws: number of draws per datapoint; of `posterior`, at most as many as it has.
        predictive: draw from the model too, for the two predictive groups and `prior`.
        seed: of the draws; z is the same as in `weights` with the same arguments.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        `arviz.InferenceData` with ArviZ 0.x, `xarray.DataTree` with ArviZ 1.x; both have
        `.to_netcdf(path)`.

    Raises:
        Unsupported: if the pair's structure does not allow it, the model cannot be drawn from, or
            names of sites and plates collide; the message says why.
        ValueError: if `draws` or `memory` is below 1, the data are not finite, or `posterior` is
            of other data or has fewer draws.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> results = to_arviz(pairs.assemble(digits, latent=2), digits.test[:5], draws=10)
        >>> results["posterior"]["z"].dims
        ('chain', 'draw', 'data', 'z_dim_0')
    """
    names = names_of(data, "test")
    pair, whole = adapted(pair, data, split="test", seed=seed)
    if posterior is not None:
        check_given(posterior, len(whole[0]), names)
    elif isinstance(pair, Adapted) and pair.shared.given:  # which are drawn anew for each draw
        arguments, keywords = pair.form.filled(whole)
        return from_pyro_svi(
            pair.pair.model,
            pair.pair.guide,
            *arguments,
            draws=draws,
            predictive=predictive,
            seed=seed,
            progress=progress,
            **keywords,
        )
    kept = sound(pair, whole, names)
    batch = kept.batch
    given: dict[str, Tensor] | None = None
    if posterior is not None:
        given = drawn_from(posterior, draws, kept.rows)
        pair = with_its_latents(pair, batch)
    parts: list[Mapping[str, Mapping[str, Tensor]]] = []
    reasons: dict[str, str] = {}
    bar = progress_bar(total=len(batch[0]), unit=" datapoints", progress=progress)
    with bar, isolated(pair, seed):
        simulation_seed = seed if predictive else None
        for chunk, structure, drawn in draw_chunks(
            pair, batch, draws, memory, simulation_seed=simulation_seed, given=given
        ):
            parts.append(_tensors(structure, list(drawn), weighted=given is None))
            reasons |= structure.unnormalized
            bar.update(len(chunk[0]))
    groups = _variables(parts, structure, reasons, kept)
    return arviz_data(groups, {}, lambda group: names.on(group, structure.observations))


def _tensors(
    structure: Structure, drawn: list[Draws], *, weighted: bool
) -> Mapping[str, Mapping[str, Tensor]]:
    """Return the groups of one chunk of the data, `(draw, data, ...)`, data `(data, ...)`."""

    def joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    simulated = joined([part.simulated for part in drawn])
    return {
        "posterior": joined([part.latents for part in drawn]),
        "posterior_predictive": joined([part.predicted for part in drawn]),
        "prior": {name: simulated[name] for name in structure.latents if simulated},
        "prior_predictive": {
            name: simulated[name] for name in structure.observations if simulated
        },
        "log_likelihood": joined([part.log_likelihoods for part in drawn]),
        "sample_stats": (
            {"log_weight": torch.cat([part.log_weights for part in drawn])} if weighted else {}
        ),
        "observed_data": structure.observations,
    }


def _variables(
    parts: list[Mapping[str, Mapping[str, Tensor]]],
    structure: Structure,
    reasons: dict[str, str],
    kept: SoundRows,
) -> Groups:
    """Join the chunks of the data and name the axes."""
    groups: dict[str, dict[str, Variable]] = {}
    for group, names in parts[0].items():
        densities = group in ("log_likelihood", "sample_stats")
        leading = ("data",) if group == "observed_data" else ("draw", "data")
        groups[group] = {}
        for name in names:
            axis = len(leading) - 1
            values = to_numpy(torch.cat([part[group][name] for part in parts], axis))
            values = kept.filled(values, axis)
            plates = () if densities else structure.inner_plates[name]
            events = range(values.ndim - len(leading) - len(plates))
            dims = (*leading, *plates, *(f"{name}_dim_{axis}" for axis in events))
            attrs = dict(_NATS) if densities else {}
            if group == "log_likelihood" and name in reasons:
                attrs["pseudo_likelihood"] = reasons[name]
            groups[group][name] = Variable(values, dims, attrs)
    return groups
