"""Runs a model and its fitted guide, once for each draw."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyro.poutine as poutine
from pyro.poutine.trace_messenger import TraceMessenger
from pyro.poutine.util import site_is_subsample

from ppvae.engine import (
    SimulationMessenger,
    Site,
    SiteReached,
    Sites,
    Unsupported,
    base_of,
    first_line,
    noted,
    sample_sites,
    scaled_log_prob,
)

Program = Callable[..., Any]


@dataclass
class FittedPrograms:
    """A model and its fitted guide, with their arguments.

    Args:
        model: the model.
        guide: the guide.
        args: positional arguments of both.
        kwargs: keyword arguments of both.
        subsamples: of plates, by name; those of the first run are used in all others.
    """

    model: Program
    guide: Program
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    subsamples: Sites = field(default_factory=dict)

    def first_run(self) -> Sites:
        """Draw the subsamples, check the latents and the densities; return the model's sites.

        Raises:
            Unsupported: if model and guide differ in their latents, or a site has no density.
        """
        guide = self._trace("guide", self.guide)
        model = self._trace("model", poutine.replay(self.model, trace=guide))
        for trace in (guide, model):
            self.subsamples |= {
                name: site for name, site in trace.nodes.items() if site_is_subsample(site)
            }
        latents = {name for name, site in sample_sites(model).items() if not site["is_observed"]}
        drawn = {
            name
            for name, site in sample_sites(guide).items()
            if not site["is_observed"] and not site["infer"].get("is_auxiliary")
        }
        for name in sorted(latents - drawn):
            raise Unsupported(
                f"latent site {name!r} of the model is missing from the guide, so its posterior "
                "is not known; from_pyro_svi needs every latent drawn by the guide, none summed "
                "out by enumeration"
            )
        for name in sorted(drawn - latents):
            raise Unsupported(
                f"latent site {name!r} of the guide is missing from the model; sample it there "
                'under the same name, or mark it infer={"is_auxiliary": True}'
            )
        for trace in (guide, model):
            for name, site in _sites(trace).items():
                _check_density(name, site)
        return _sites(model)

    def run(self) -> tuple[Sites, Sites, float]:
        """Return the guide's sites, the model's, and log p(x, z) - log q(z) with all factors."""
        given = _trace_of(self.subsamples)
        guide = self._trace("guide", poutine.replay(self.guide, trace=given))
        drawn = {name: site for name, site in _sites(guide).items() if not site["is_observed"]}
        given = _trace_of(self.subsamples | drawn)
        model = self._trace("model", poutine.replay(self.model, trace=given))
        log_joint = scaled_log_prob(_sites(model).values())
        return drawn, _sites(model), log_joint - scaled_log_prob(_sites(guide).values())

    def simulate(self, drawn: Sites) -> Sites:
        """Run the model without its observations, from given latents or from its own.

        Raises:
            Unsupported: if a site's distribution cannot be drawn from.
        """
        given = _trace_of(self.subsamples | drawn)
        program = poutine.replay(SimulationMessenger()(self.model), trace=given)
        return _sites(self._trace("model", program, "; predictive=False leaves such draws out"))

    def _trace(self, name: str, program: Program, remedy: str = "") -> poutine.Trace:
        """Run a program and return its trace; its exceptions keep type, message and traceback.

        `poutine.trace(program)` would replace them by exceptions of its own.
        """
        recorder, reached = TraceMessenger(), SiteReached()
        try:
            with recorder, reached:
                program(*self.args, **self.kwargs)
        except Exception as error:
            if reached.site is not None:
                if isinstance(error, NotImplementedError) and reached.has_no_sampler():
                    raise Unsupported(
                        f"the {name} cannot be drawn from: at site {reached.site['name']!r} "
                        f"{_family(reached.site)} has no sampler ({first_line(error)}){remedy}"
                    ) from error
                error.add_note(f"while the {name} ran, at or after {reached.site['name']!r}")
            raise
        return recorder.trace


def _check_density(name: str, site: Site) -> None:
    """Raise Unsupported if the distribution of a site has no density."""
    try:
        with noted(f"at the log density of site {name!r}"):
            site["fn"].log_prob(site["value"])
    except NotImplementedError as error:
        raise Unsupported(
            f"site {name!r} has no log density, as {_family(site)} does not implement log_prob "
            f"({first_line(error)}); from_pyro_svi needs the density of every site"
        ) from error


def _family(site: Site) -> str:
    return type(base_of(site["fn"])).__name__.lstrip("_")


def _sites(trace: poutine.Trace) -> Sites:
    """Return the sample sites of a trace, `pyro.deterministic` among them, in order."""
    return {
        name: site
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and not site_is_subsample(site)
    }


def _trace_of(sites: Sites) -> poutine.Trace:
    trace = poutine.Trace()
    for name, site in sites.items():
        trace.add_node(name, **site)
    return trace
