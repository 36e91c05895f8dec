"""The KL term of formula (2) by latent site, such as the layers of a hierarchy."""

import math

import torch
import xarray as xr
from torch import Tensor

from ppvae.diagnostics.failed_rows import by_row
from ppvae.diagnostics.names import names_of
from ppvae.engine import (
    MEMORY,
    Batch,
    Data,
    Pair,
    Site,
    Sites,
    Structure,
    Unsupported,
    adapted,
    draw_chunks,
    execute,
    isolated,
    log_density,
    mean_error,
    progress_bar,
    refuse_degenerate,
    refuse_without_latents,
    site_kl,
)


def kl_per_site(
    pair: Pair,
    data: Data,
    *,
    draws: int = 100,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> xr.Dataset:
    """Split the KL term of formula (2) into those of the latent sites, for each datapoint.

        kl_l = E_q[log q(z_l | its conditions, x) - log p(z_l | its conditions)]

    Their sum is KL[q(z|x) || p(z)]. In a hierarchy a site is a layer: one that the posterior does
    not use has a KL of 0. Where the guide draws the latents in the model's order and the KL of a
    site has a closed form given the draws of those before, that is averaged, and no kl_l is
    negative; it has no error where it depends on no draw. Otherwise the two log densities are.

    Args:
        pair: any pair.
        data: `(data, *event)`; of a dataset, the test split.
        draws: number of draws per datapoint.
        seed: of the draws.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        `kl` and its Monte Carlo standard error `kl_error`, in nats, dims `(site, data)`, sites in
        the model's order.

    Raises:
        Unsupported: if the pair's structure does not allow it, such as a latent whose prior is a
            mixture over a site that is summed out.
        ValueError: if a number is below 1, or the data are not valid.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.HierarchicalVAE.of(digits, latent=(4, 2))
        >>> kl_per_site(pair, digits.test[:5], draws=10).kl.sizes
        Frozen({'site': 2, 'data': 5})
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    names = names_of(data, "test")
    pair, batch = adapted(pair, data, split="test", seed=seed, in_chunks=True)
    return by_row(
        pair, batch, lambda rows: _measured(pair, rows, draws, seed, memory, progress), names
    )


def _measured(
    pair: Pair, batch: Batch, draws: int, seed: int, memory: int, progress: bool | None
) -> xr.Dataset:
    means, errors = [], []
    bar = progress_bar(total=len(batch[0]), unit=" datapoints", progress=progress)
    with bar, isolated(pair, seed):
        for chunk, structure, _ in draw_chunks(pair, batch, 1, memory):
            refuse_without_latents(structure)
            refuse_degenerate(structure)
            rows = len(chunk[0])
            runs = [
                _terms(*execute(pair, chunk, structure), structure, rows) for _ in range(draws)
            ]
            values = torch.stack(runs).double()
            means.append(values.mean(0))
            errors.append(mean_error(values))
            bar.update(rows)
    variables = {
        name: (("site", "data"), torch.cat(parts, 1).cpu().numpy())
        for name, parts in (("kl", means), ("kl_error", errors))
    }
    attrs = {"units": "nats", "draws": draws}
    return xr.Dataset(variables, {"site": list(structure.latents)}, attrs)


def _terms(guide: Sites, model: Sites, structure: Structure, rows: int) -> Tensor:
    """Return the KL of each site at one draw, `(site, data)`."""
    terms = []
    for name in structure.latents:
        if any(_is_enumerated(run[name], structure.draw_dim) for run in (guide, model)):
            raise Unsupported(
                f"latent site {name!r} depends on a site that is summed out, so its KL is not "
                "one of two densities"
            )
        term = None
        if structure.ordered:
            term = site_kl(guide[name], model[name], structure.draw_dim, None, rows)
        if term is None:
            densities = (log_density([run[name]], structure, rows, None) for run in (guide, model))
            posterior, prior = densities
            term = posterior - prior
        terms.append(term[0])
    return torch.stack(terms)


def _is_enumerated(site: Site, draw_dim: int) -> bool:
    """Tell whether it has a distribution for each value of a site that is summed out.

    Their dimensions are left of all plates: without draws, from the dimension of these on.
    """
    return int(math.prod(site["fn"].batch_shape[: draw_dim + 1 or None])) > 1
