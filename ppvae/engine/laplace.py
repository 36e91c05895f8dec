"""The normal of a Laplace approximation, which in training is a point alone."""

from collections.abc import Callable, Mapping
from typing import Any

import pyro
import pyro.poutine as poutine
import torch
from pyro.infer.autoguide import AutoLaplaceApproximation

from ppvae.engine.errors import Unsupported
from ppvae.engine.sites import names_of, sample_sites

Program = Callable[..., Any]


def normal_at_mode(
    model: Program, guide: Program, arguments: tuple[Any, ...], keywords: Mapping[str, Any]
) -> Program:
    """Return a guide as it is measured: of an `AutoLaplaceApproximation` its normal.

        q(u) = N(u*, H^-1),    H the Hessian of -log p(x, u) at its minimum u*

    Training finds u* alone. Any other guide is returned itself.

    Args:
        model: the model.
        guide: its guide, trained.
        arguments: all data.
        keywords: likewise.

    Raises:
        Unsupported: if the model draws more than the guide, or u* is no maximum of log p(x, u).
    """
    if not isinstance(guide, AutoLaplaceApproximation) or guide.prototype_trace is None:
        return guide
    with pyro.get_param_store().scope(), torch.enable_grad():
        drawn = poutine.trace(guide).get_trace(*arguments, **keywords)
        whole = poutine.trace(poutine.replay(model, trace=drawn))
        sites = sample_sites(whole.get_trace(*arguments, **keywords))
        others = [n for n, s in sites.items() if not s["is_observed"] and n not in drawn.nodes]
        if others:
            raise Unsupported(
                f"the model draws {names_of(others)}, which its AutoLaplaceApproximation does "
                "not, so that the curvature of log P(X) is not known; take AutoNormal or "
                "AutoMultivariateNormal"
            )
        try:
            normal: Program = guide.laplace_approximation(*arguments, **keywords)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            raise Unsupported(
                "the AutoLaplaceApproximation has no normal: where its training ended, log p(x, z)"
                " does not curve down in every direction; train it longer, or take "
                "AutoMultivariateNormal where the posterior has no mode inside its support"
            ) from None
    return normal
