"""Which latents a pair uses, and their KL."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import xarray as xr
from torch import Tensor
from torch.distributions import kl_divergence

from ppvae.diagnostics.failed_rows import sound
from ppvae.diagnostics.latents.dimensions import flagged
from ppvae.diagnostics.latents.posterior_means import means_with_variances
from ppvae.diagnostics.latents.prior_variances import prior_variances
from ppvae.diagnostics.names import names_of
from ppvae.engine import (
    MEMORY,
    Data,
    Pair,
    Site,
    Unsupported,
    adapted,
    draw_chunks,
    factors_of,
    is_masked,
    isolated,
    plates,
    progress_bar,
    refuse_without_latents,
    run_pair,
)

_DEVIATIONS = 3.719  # of a normal distribution: its 99.99 % quantile


@dataclass(frozen=True)
class ActiveUnits:
    """What `active_units` measures.

    Args:
        variance: Var_x(E[z | x]) of every latent dimension, one variable a site.
        threshold: the share of the prior's variance above which a dimension is active.
        prior_variance: that of each dimension.
        noise: what the finite number of draws may add to `variance`, 0 where it is exact.
    """

    variance: xr.Dataset
    threshold: float
    prior_variance: xr.Dataset
    noise: xr.Dataset

    @property
    def active(self) -> xr.Dataset:
        """Whether each dimension is active."""
        return self.variance > self.threshold * self.prior_variance + self.noise

    @property
    def count(self) -> int:
        """Number of active dimensions over all sites."""
        return sum(int(flags.sum()) for flags in self.active.values())

    @property
    def dead(self) -> tuple[str, ...]:
        """The dimensions that are not active, such as "z[1]"."""
        return flagged(~self.active)


def active_units(
    pair: Pair,
    data: Data,
    *,
    threshold: float = 0.01,
    draws: int = 100,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> ActiveUnits:
    """Find the latent dimensions whose posterior mean varies with the data.

    A dimension is active if Var_x(E_{q(z|x)}[z]) exceeds a share of the prior's variance (Burda,
    Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016, for a prior of variance
    1), so that its unit does not matter. The inner mean is exact where the guide has one latent
    whose distribution has a known mean; elsewhere it is an average over draws. The variance that
    the finite number of draws adds is then subtracted, and the 99.99 % quantile of what it may
    have added beyond is `noise`, which an active dimension exceeds too.

    A latent can inform about the data without a mean that varies, as where its posterior has two
    symmetric modes: `surgery` measures its information.

    Args:
        pair: any pair.
        data: `(data, *event)`, at least two datapoints; of a dataset, the test split.
        threshold: the share of the prior's variance above which a dimension is active.
        draws: number of draws per datapoint where the mean is not known.
        seed: of the draws.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.

    Raises:
        Unsupported: with fewer than two datapoints, or if the pair's structure does not allow it.
        ValueError: if a number is not valid, or the data are not.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> active_units(pairs.assemble(digits, latent=2), digits).variance.z.shape
        (2,)
    """
    names = names_of(data, "test")
    pair, batch = adapted(pair, data, split="test", seed=seed, in_chunks=True)
    if len(batch[0]) < 2:
        raise Unsupported("active_units needs at least 2 datapoints, got 1")
    if draws < 2:
        raise ValueError(f"active_units needs draws >= 2, got {draws}")
    if not threshold >= 0:
        raise ValueError(f"threshold must be at least 0, got {threshold}")
    batch = sound(pair, batch, names).batch
    with isolated(pair, seed):
        means, noises = means_with_variances(pair, batch, draws, memory, progress)
        prior = prior_variances(pair, batch, memory)
    variance, margin = {}, {}
    for name, mean in means.items():
        added = noises[name].mean(0)
        variance[name] = (mean.var(0) - added).clamp(min=0)
        margin[name] = added * (_quantile(len(mean) - 1) - 1)
    return ActiveUnits(
        _by_dimension(variance), threshold, _by_dimension(prior), _by_dimension(margin)
    )


def _quantile(degrees: int) -> float:
    """Return the 99.99 % quantile of a sample variance of normal values of variance 1.

    By Wilson and Hilferty, "The Distribution of Chi-Square", 1931.
    """
    ninth = 2 / (9 * degrees)
    return float((1 - ninth + _DEVIATIONS * ninth**0.5) ** 3)


def _by_dimension(values: Mapping[str, Tensor]) -> xr.Dataset:
    return xr.Dataset(
        {
            name: ([f"{name}_dim_{axis}" for axis in range(value.dim())], value.cpu().numpy())
            for name, value in values.items()
        }
    )


def kl_per_dimension(
    pair: Pair,
    data: Data,
    *,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> xr.DataArray:
    """Return the closed-form KL[q(z_j|x) || p(z_j)] of each latent dimension, averaged over data.

    Defined for one latent whose prior and posterior are independent over dimensions; the sum over
    dimensions is then the KL term of formula (2).

    Args:
        pair: a pair with one such latent.
        data: `(data, *event)`; of a dataset, the test split.
        seed: of the one run of the pair.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        The KL in nats, one dim for each dimension of the latent.

    Raises:
        Unsupported: if there are several latents, the KL does not split into dimensions or has no
            closed form, or the latent is masked or in a plate of its own.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> kl_per_dimension(pairs.assemble(digits, latent=2), digits).dims
        ('z_dim_0',)
    """
    names = names_of(data, "test")
    pair, whole = adapted(pair, data, split="test", seed=seed, in_chunks=True)
    batch = sound(pair, whole, names).batch
    kls = []
    bar = progress_bar(total=len(batch[0]), unit=" datapoints", progress=progress)
    with bar, isolated(pair, seed):
        for chunk, structure, _ in draw_chunks(pair, batch, 1, memory):
            refuse_without_latents(structure)
            if not structure.ordered or len(structure.latents) != 1:
                raise Unsupported(
                    "kl_per_dimension needs a pair with one latent and a guide of no other site, "
                    f"got latents {list(structure.latents)}"
                )
            (name,) = structure.latents
            guide, model = run_pair(pair, chunk)
            kls.append(_split_kl(name, guide[name], model[name], len(chunk[0])))
            bar.update(len(chunk[0]))
    mean = torch.cat(kls).double().mean(0)
    dims = [f"{name}_dim_{axis}" for axis in range(mean.dim())]
    return xr.DataArray(mean.cpu().numpy(), dims=dims, name="kl", attrs={"units": "nats"})


def _split_kl(name: str, guide: Site, model: Site, rows: int) -> Tensor:
    """Return the KL of every datapoint and dimension of a latent, `(data, *event)`."""
    if len(plates(guide)) > 1 or len(plates(model)) > 1:
        raise Unsupported(f"site {name!r} stands in a plate of its own, inside that of the data")
    if is_masked(guide) or is_masked(model):
        raise Unsupported(f"site {name!r} is masked, so its KL does not split into dimensions")
    posterior, prior = factors_of(guide["fn"]), factors_of(model["fn"])
    if posterior is None or prior is None:
        raise Unsupported(
            f"the KL of site {name!r} does not split into dimensions: prior and posterior must "
            "be independent over dimensions, such as Normal(loc, scale).to_event(1)"
        )
    try:
        kl: Tensor = kl_divergence(posterior, prior)
    except NotImplementedError:
        raise Unsupported(
            f"the KL of site {name!r} has no closed form between {type(posterior).__name__} and "
            f"{type(prior).__name__}"
        ) from None
    return kl.expand(rows, *guide["fn"].event_shape)
