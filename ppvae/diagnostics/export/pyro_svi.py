"""The result of any stochastic variational inference in Pyro, as ArviZ data."""

from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pyro.poutine as poutine
from pyro.infer.autoguide import AutoCallable, AutoGuide
from pyro.poutine.guide import GuideMessenger

from ppvae.diagnostics.export.arviz_groups import arviz_data
from ppvae.diagnostics.export.draw_table import DrawTable
from ppvae.diagnostics.export.draws_at_once import FEW, DrawsAtOnce
from ppvae.diagnostics.export.fitted_programs import FittedPrograms, Program
from ppvae.engine import Sites, isolated, progress_bar, seeded, seeds


def from_pyro_svi(
    model: Program,
    guide: Program,
    *args: Any,
    draws: int = 1000,
    seed: int = 0,
    coords: Mapping[str, Sequence[Any]] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    predictive: bool = True,
    progress: bool | None = None,
    **kwargs: Any,
) -> Any:
    """Draw from a fitted guide; return draws, densities and data as ArviZ data.

    For any model and guide of `pyro.infer.SVI`, called as in `svi.step(*args, **kwargs)`:
    autoguides, `pyro.param`, modules; latents global, in plates, or both. The groups have one
    chain of independent draws:

    - `posterior`: the latents z ~ q(z), and the `pyro.deterministic` sites computed from them;
    - `log_likelihood`: log p(x_i|z) of each observed site, in nats, one value for each
      combination of its plates, without the factors of `poutine.scale` and of subsampling;
    - `sample_stats`: `log_weight` = log p(x, z) - log q(z) of the whole model, in nats, with all
      these factors: its mean is the ELBO of `Trace_ELBO`, or of `TraceEnum_ELBO`, for a guide
      that observes nothing;
    - `posterior_predictive`: x ~ p(x|z) at these draws;
    - `prior` and `prior_predictive`: draws from the model alone;
    - `observed_data`.

    Dims are `(chain, draw)`, then the names of the plates around a site, from left to right, then
    `<site>_dim_0`, ... for the dimensions of one value. Sites in sequential plates keep the names
    that the model gives them. Values are expanded to the plates' full shapes. A random subsample
    of a plate is drawn once, with `seed`, and is the same for all draws; the plate's coordinate
    holds its indices. Auxiliary sites of the guide are left out; so are its observed sites and
    factors, in `log_weight` too, whose attribute `left_out` names them.

    Discrete latents that only the model has are summed out of all densities exactly, by Pyro's
    enumeration; `posterior` holds draws from p(k | x, z), in their joint distribution. The log
    likelihood is then that of each element of a site alone, and its attribute `summed_out` names
    the latents:

        log p(x_i|z) = log sum_k p(k, z) p(x_i|k, z) - log sum_k p(k, z)

    Where a site has no density of the data, the attribute `pseudo_likelihood` of its log
    likelihood says why.

    The guide draws one at a time. The model runs for many draws at once where that gives the same
    as single runs, and else for each draw, so that any program works. Parameters, training mode
    and random state are not changed.

    Args:
        model: the model.
        guide: the guide, fitted.
        args: passed on to both.
        draws: number of draws.
        seed: of the draws.
        coords: values of the coordinate of each dim; counted from 0 where not given.
        dims: names of each site's dims after `(chain, draw)`, plates included.
        predictive: draw from the model too, for the two predictive groups and `prior`.
        progress: show a progress bar; only on a terminal, unless given.
        kwargs: passed on to both.

    Returns:
        `arviz.InferenceData` with ArviZ 0.x, `xarray.DataTree` with ArviZ 1.x; both have
        `.to_netcdf(path)`.

    Raises:
        TypeError: if the guide is a GuideMessenger.
        ValueError: if `draws` is below 1, the guide is not fitted, or `coords` or `dims` do not
            fit the model.
        Unsupported: if a latent is in the guide only, or in the model only and cannot be
            enumerated; if sites or shapes differ between draws; if a distribution has no density
            or cannot be drawn from; or if names of sites and plates collide.
        Exception: what the model or the guide raises, with a note of the site reached.

    Example:
        >>> import pyro
        >>> import torch
        >>> import pyro.distributions as dist
        >>> from pyro.infer.autoguide import AutoNormal
        >>> def model(x):
        ...     loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
        ...     with pyro.plate("person", len(x)):
        ...         pyro.sample("height", dist.Normal(loc, 1.0), obs=x)
        >>> with pyro.get_param_store().scope():
        ...     guide = AutoNormal(model)
        ...     svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({}), pyro.infer.Trace_ELBO())
        ...     loss = svi.step(torch.zeros(3))
        ...     results = from_pyro_svi(model, guide, torch.zeros(3), draws=10)
        >>> results["log_likelihood"]["height"].dims
        ('chain', 'draw', 'person')
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    _check_guide(guide)
    programs = FittedPrograms(model, guide, args, kwargs)
    with isolated(SimpleNamespace(model=model, guide=guide), seed):
        with seeded(seed):
            sites = programs.first_run()
        table = DrawTable(sites, {name: tuple(names) for name, names in (dims or {}).items()})
        run = DrawsAtOnce(programs, table, predictive)
        separate, done = seeds(seed), 0
        at_once = None if draws >= FEW and not programs.summed_out else 1
        with progress_bar(total=draws, unit=" draws", progress=progress) as bar:
            while done < draws:
                drawn = [programs.draw() for _ in range(min(at_once or 2, draws - done))]
                if at_once is None:
                    at_once = run.count(drawn, seed)
                if at_once > 1:
                    run.add(drawn, next(separate))
                else:
                    _add_each(programs, table, drawn, separate, predictive)
                done += len(drawn)
                bar.update(len(drawn))
    return arviz_data(table.groups(programs), table.coords(coords or {}, programs.subsamples))


def _add_each(
    programs: FittedPrograms,
    table: DrawTable,
    drawn: list[tuple[Sites, float]],
    separate: Iterator[int],
    predictive: bool,
) -> None:
    """Run the model for each draw of the guide and add it to the table."""
    for sites, log_q in drawn:
        scored = programs.score(sites, log_q)
        table.add_posterior(scored)
        if predictive:
            with seeded(next(separate)):
                predicted = programs.predict(scored, table.data)
                table.add("posterior_predictive", predicted, table.data)
                simulated = programs.simulate({})
                table.add("prior", simulated, table.latents)
                table.add("prior_predictive", simulated, table.data)


def _check_guide(guide: Program) -> None:
    """Raise an error unless the guide is fitted and can be called on its own."""
    # A run of an unfitted autoguide would create its parameters; an AutoCallable has none.
    has_parameters = not isinstance(guide, AutoCallable)
    if has_parameters and isinstance(guide, AutoGuide) and guide.prototype_trace is None:
        raise ValueError(
            f"the guide, an {type(guide).__name__}, has not run yet; fit it by svi.step first"
        )
    if isinstance(poutine.unwrap(guide), GuideMessenger):
        raise TypeError(
            "guide is a GuideMessenger, which runs within its model; from_pyro_svi needs a guide "
            "that is called on its own, such as an AutoGuide"
        )
