"""Runs a model and its fitted guide, once for each draw."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyro.poutine as poutine
from pyro.infer import infer_discrete
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from ppvae.diagnostics.export.replay import family_of_base, replayed
from ppvae.diagnostics.export.summing_out import SummedOut
from ppvae.engine import (
    Site,
    Sites,
    Unsupported,
    asks_for_enumeration,
    first_line,
    names_of,
    normal_at_mode,
    noted,
    plates,
    sample_sites,
    scaled,
)

Program = Callable[..., Any]


@dataclass(frozen=True)
class Scored:
    """One draw of the guide, and the model given it.

    Args:
        drawn: sites whose values the model takes: those of the guide, and summed-out ones.
        joint: the model's sites.
        log_likelihoods: log p(x_i|z) of each observed site in nats, masks applied.
        log_weight: log p(x, z) - log q(z) with all factors, in nats.
    """

    drawn: Sites
    joint: Sites
    log_likelihoods: dict[str, Tensor]
    log_weight: float


@dataclass
class FittedPrograms:
    """A model and its fitted guide, with their arguments.

    Args:
        model: the model.
        guide: the guide.
        args: positional arguments of both.
        kwargs: keyword arguments of both.
        subsamples: of plates, by name; those of the first run are used in all others.
        summed_out: discrete latents of the model that the guide does not draw.
        left_out: observed sites and factors of the guide, which no density counts.
        free_dim: the first dimension left of all plates.
    """

    model: Program
    guide: Program
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    subsamples: Sites = field(default_factory=dict)
    summed_out: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    _sites: Sites = field(default_factory=dict)
    free_dim: int = -1

    def first_run(self) -> Sites:
        """Draw the subsamples, check the latents and the densities; return the model's sites.

        Raises:
            Unsupported: if model and guide differ in their latents, or a site has no density.
        """
        self.guide = normal_at_mode(self.model, self.guide, self.args, self.kwargs)
        guide = self._trace("guide", self.guide, {})
        observed = [name for name, site in sample_sites(guide).items() if site["is_observed"]]
        given = {name: site for name, site in guide.nodes.items() if site["type"] == "sample"}
        enumerated = [name for name, site in given.items() if asks_for_enumeration(site)]
        try:
            model = self._trace("model", self.model, given)
        except Exception as error:
            if not enumerated:
                raise
            raise Unsupported(
                f"the model does not run on single values of {names_of(enumerated)}, which the "
                "guide enumerates; `diagnostics.to_arviz(pair, x)` sums such sites out"
            ) from error
        for trace in (guide, model):
            self.subsamples |= {
                name: site for name, site in trace.nodes.items() if site_is_subsample(site)
            }
        self._check_latents(sample_sites(guide), sample_sites(model))
        for trace in (guide, model):
            for name, site in _sites(trace).items():
                if trace is model or name not in observed:
                    _check_density(name, site)
        self.left_out = tuple(observed)
        self._sites = _sites(model)
        frames = [
            frame
            for trace in (guide, model)
            for site in _sites(trace).values()
            for frame in plates(site)
        ]
        self.free_dim = min((frame.dim for frame in frames), default=0) - 1
        return self._sites

    def _check_latents(self, guide: Sites, model: Sites) -> None:
        drawn = {
            name
            for name, site in guide.items()
            if not site["is_observed"] and not site["infer"].get("is_auxiliary")
        }
        latents = {name: site for name, site in model.items() if not site["is_observed"]}
        self.summed_out = tuple(name for name in latents if name not in drawn)
        for name in self.summed_out:
            if not getattr(latents[name]["fn"], "has_enumerate_support", False):
                raise Unsupported(
                    f"latent site {name!r} of the model is missing from the guide, so its "
                    "posterior is not known; from_pyro_svi needs every latent drawn by the guide, "
                    "or discrete, so that it is summed out by enumeration"
                )
        for name in sorted(drawn - latents.keys()):
            raise Unsupported(
                f"latent site {name!r} of the guide is missing from the model; sample it there "
                'under the same name, or mark it infer={"is_auxiliary": True}'
            )

    def draw(self) -> tuple[Sites, float]:
        """Run the guide; return what it draws and log q(z) in nats, with all factors."""
        guide = _sites(self._trace("guide", self.guide, self.subsamples))
        drawn = {name: site for name, site in guide.items() if not site["is_observed"]}
        return drawn, sum(
            float(scaled(s["fn"].log_prob(s["value"]), s).sum()) for s in drawn.values()
        )

    def score(self, drawn: Sites, log_q: float) -> Scored:
        """Run the model given a draw of the guide.

        Raises:
            Unsupported: if discrete sites cannot be summed out.
        """
        if self.summed_out:
            joint, log_likelihoods, log_joint = self._run_summed_out(drawn)
            drawn = drawn | {name: joint[name] for name in self.summed_out}
            return Scored(drawn, joint, log_likelihoods, log_joint - log_q)
        joint = self.joint(drawn)
        log_joint, log_likelihoods = 0.0, {}
        for name, site in joint.items():
            if site["infer"].get("_deterministic"):
                continue
            values = site["fn"].log_prob(site["value"])
            weighted = scaled(values, site)
            log_joint += float(weighted.sum())
            if site["is_observed"]:
                if isinstance(site["scale"], Tensor) or site["scale"] != 1:
                    weighted = scaled(values, {**site, "scale": 1.0})
                log_likelihoods[name] = weighted
        return Scored(drawn, joint, log_likelihoods, log_joint - log_q)

    def _run_summed_out(self, drawn: Sites) -> tuple[Sites, dict[str, Tensor], float]:
        """Run the model with discrete latents drawn from p(k | x, z), summed out of densities."""
        names, given = {*self.summed_out}, self.subsamples | drawn
        model = poutine.infer_config(
            self.model, lambda site: {"enumerate": "parallel"} if site["name"] in names else {}
        )
        begun, traces = [], []

        def recorded(*_: Any, **__: Any) -> None:
            begun.append(True)
            traces.append(self._trace("model", model, given))

        # It runs the model twice: enumerated, and with what it has drawn.
        sample = infer_discrete(recorded, first_available_dim=self.free_dim)
        try:
            sample(*self.args, **self.kwargs)
            densities = SummedOut(traces[0])
            log_likelihoods = {
                name: densities.log_likelihood(name)
                for name, site in sample_sites(traces[0]).items()
                if site["is_observed"]
            }
            log_joint = densities.log_joint()
        except (ValueError, NotImplementedError) as error:
            if len(traces) < len(begun) or isinstance(error, Unsupported):
                raise  # the model raised it
            raise Unsupported(
                f"the sites {names_of(self.summed_out)} cannot be summed out: {first_line(error)}"
            ) from error
        joint = _sites(traces[1])
        for name in joint.keys() & self._sites.keys():  # Pyro changes the plates of what it draws
            stack = self._sites[name]["cond_indep_stack"]
            joint[name] = {**joint[name], "cond_indep_stack": stack}
        return joint, log_likelihoods, log_joint

    def joint(self, drawn: Sites) -> Sites:
        """Run the model given a draw of the guide and return its sites."""
        return _sites(self._trace("model", self.model, self.subsamples | drawn))

    def simulate(self, drawn: Sites) -> Sites:
        """Run the model without its observations, from given latents or from its own.

        Raises:
            Unsupported: if a site's distribution cannot be drawn from.
        """
        remedy = "; predictive=False leaves such draws out"
        given = self.subsamples | drawn
        return _sites(self._trace("model", self.model, given, simulated=True, remedy=remedy))

    def predict(self, scored: Scored, names: list[str]) -> Sites:
        """Draw the observations that `names` lists given the latents of a draw.

        Raises:
            Unsupported: if a site's distribution cannot be drawn from.
        """
        if len(names) != 1:  # one may depend on what is drawn for another
            return self.simulate(scored.drawn)
        site = scored.joint[names[0]]
        try:
            value = site["fn"](*site["args"], **site["kwargs"])
        except NotImplementedError:
            return self.simulate(scored.drawn)
        return {names[0]: {**site, "value": value}}

    def _trace(
        self,
        name: str,
        program: Program,
        given: Sites,
        *,
        simulated: bool = False,
        remedy: str = "",
    ) -> poutine.Trace:
        run = functools.partial(program, *self.args, **self.kwargs)
        return replayed(name, run, given, simulated=simulated, remedy=remedy)


def _check_density(name: str, site: Site) -> None:
    """Raise Unsupported if the distribution of a site has no density."""
    try:
        with noted(f"at the log density of site {name!r}"):
            site["fn"].log_prob(site["value"])
    except NotImplementedError as error:
        raise Unsupported(
            f"site {name!r} has no log density, as {family_of_base(site)} does not implement "
            f"log_prob ({first_line(error)}); from_pyro_svi needs the density of every site"
        ) from error


def _sites(trace: poutine.Trace) -> Sites:
    """Return the sample sites of a trace, `pyro.deterministic` among them, in order."""
    return {
        name: site
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and not site_is_subsample(site)
    }
