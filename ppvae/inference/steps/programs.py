"""What Pyro is given to train: a pair's programs, and the parameters they announce."""

import warnings
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import torch
from pyro.infer import ELBO, Trace_ELBO, TraceEnum_ELBO
from torch import Tensor, nn

from ppvae.engine import (
    Adapted,
    Batch,
    Form,
    Pair,
    Site,
    Sites,
    Unsupported,
    announce,
    asks_for_enumeration,
    collect,
    is_enumerated,
    isolated,
    names_of,
    plates,
    run_pair,
    taken_over,
    trained,
)
from ppvae.inference.failure import explain
from ppvae.inference.objectives.sticking_the_landing_enumeration import (
    StickingTheLandingEnum_ELBO,
    reason_against,
)


def announced_programs(
    pair: Pair, form: Form, example: Batch, objective: ELBO | None, what: str = ""
) -> tuple[Pair, Pair, dict[str, Tensor], tuple[Sites, Sites]]:
    """Return a pair as the engine takes it, the same announced to Pyro, parameters and sites.

    Args:
        pair: the pair.
        form: of its batches.
        example: a batch to run it on.
        objective: what will be maximized.
        what: what to call the example in an error.

    Raises:
        Unsupported: if the pair cannot be trained by this objective, or has no parameters.
        ValueError: if the pair fails numerically on the example.
        Exception: what the pair raises on the example.
    """
    sites: list[tuple[Sites, Sites]] = []
    try:
        # Parameters that the programs make here are initialized by the caller's seed. An automatic
        # guide makes them at its first call, and Pyro's store has others from the next call on.
        with isolated(pair, seed=torch.initial_seed(), keep=True):
            run = trained(pair, form, example)
        with isolated(pair, seed=torch.initial_seed(), keep=True):
            parameters = collect(lambda: sites.append(run_pair(run, example)))
    except (ArithmeticError, ValueError, RuntimeError) as error:
        cause = explain(Adapted(pair, form), example, error)
        if cause is None:
            if what:
                error.add_note(f"on the {what.strip(': ')} data")
            raise
        raise ValueError(f"{what}before training, {cause}") from error
    _check_objective(*sites[0], objective)
    _check_store(pair, parameters.values())
    known = {id(parameter) for parameter in parameters.values()}
    silent = {
        name: parameter
        for name, parameter in (pair.named_parameters() if isinstance(pair, nn.Module) else ())
        if parameter.requires_grad and id(parameter) not in known
    }
    if not parameters and not silent:
        raise Unsupported(
            "the pair has no parameters to train; make it an nn.Module, or use pyro.param or "
            "pyro.module in its model and guide"
        )
    if not silent:
        return run, run, parameters, sites[0]
    # A user's own nn.Module need not announce what it trains: it is done here.
    programs = SimpleNamespace(
        model=_announcing(pair, run.model), guide=_announcing(pair, run.guide)
    )
    return run, programs, parameters | silent, sites[0]


def _announcing(pair: Any, program: Callable[..., Any]) -> Callable[..., Any]:
    def announced(*batch: Tensor) -> Any:
        announce(pair)
        return program(*batch)

    return announced


def _check_store(pair: Any, parameters: Iterable[Tensor]) -> None:
    """Warn where a pair goes on from parameters of Pyro's store that another pair has trained.

    Raises:
        Unsupported: if the store holds another pair's module under the name of this pair's, which
            then would not be trained.
    """
    shared, elsewhere = taken_over(pair, parameters)
    if elsewhere and not isinstance(pair, nn.Module):
        modules = {name.split("$$$")[0] for name in elsewhere}
        raise Unsupported(
            f"pyro.module {names_of(sorted(modules))} in Pyro's store is the module of another "
            "pair, and that of this pair would not be trained; call pyro.clear_param_store() "
            "before, or make the pair an nn.Module"
        )
    if shared:
        warnings.warn(
            f"this pair takes the parameters {names_of(shared)} of Pyro's store over from another "
            "pair: it starts from their present values, and the other pair changes with it; call "
            "pyro.clear_param_store() before, give them other names, or make the pair an "
            "nn.Module that holds its parameters",
            UserWarning,
            stacklevel=4,
        )


def objective_for(guide: Sites, model: Sites, objective: ELBO | None) -> ELBO:
    """Return the objective that is given, or the one that suits a pair's sites.

    Where a program asks Pyro to enumerate a site, it is summed out.
    """
    if objective is not None:
        return objective
    sites = [*guide.values(), *model.values()]
    if not any(_to_enumerate(site) for site in sites):
        return Trace_ELBO()
    depth = max(-frame.dim for site in sites for frame in plates(site))
    if reason_against(guide, model) is None:
        return StickingTheLandingEnum_ELBO(max_plate_nesting=depth)
    return TraceEnum_ELBO(max_plate_nesting=depth, strict_enumeration_warning=False)


def _to_enumerate(site: Site) -> bool:
    return asks_for_enumeration(site) or is_enumerated(site)


def _check_objective(guide: Sites, model: Sites, objective: ELBO | None) -> None:
    for name, site in model.items():
        if site["is_observed"] or name in guide:
            continue
        if objective is None and _to_enumerate(site):
            continue
        if objective is None or type(objective) is Trace_ELBO:
            raise Unsupported(
                f"latent site {name!r} of the model is missing from the guide; sample it there, "
                "or pass objective=TraceEnum_ELBO() to sum it out"
            )
