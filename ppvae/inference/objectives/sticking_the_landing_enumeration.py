"""The ELBO of a guide with discrete sites, summed over them, with gradients through the draws."""

from typing import Any

import torch
from pyro.distributions import TorchDistribution, TransformedDistribution
from pyro.distributions.util import scale_and_mask
from pyro.infer import TraceEnum_ELBO
from pyro.infer.util import torch_item
from pyro.poutine import Trace
from pyro.util import warn_if_nan
from torch import Tensor

from ppvae.engine import (
    Site,
    Sites,
    Unsupported,
    asks_for_enumeration,
    family_of,
    is_enumerated,
    off_the_path,
    sample_sites,
)
from ppvae.inference.objectives.backward import add_gradients


class StickingTheLandingEnum_ELBO(TraceEnum_ELBO):  # type: ignore[misc]
    """The ELBO, summed over discrete sites of the guide, with gradients of less noise.

        sum_y q(y|x) (E_q[log p(x, z, y) - log q(z|x, y)] - log q(y|x))

    The value is that of Pyro's `TraceEnum_ELBO`. The gradient of log q(z|x, y) is taken through
    the draw z alone, as in `StickingTheLanding_ELBO`: what is left out has the mean 0 (Roeder, Wu
    and Duvenaud, "Sticking the landing", 2017). Where q(z|x, y) is p(z|x, y) the gradient has no
    noise. The density of a flow, which may have no inverse, keeps its whole gradient, and so does
    that of a family for which what is left out has another mean, such as a uniform one.

    Args:
        num_particles: draws that estimate the expectation.
        max_plate_nesting: as in Pyro's ELBOs.
        vectorize_particles: as in Pyro's ELBOs.

    Raises:
        Unsupported: at the first step, if a site of the model alone is to be summed out, or one of
            the guide is enumerated within `pyro.markov` or one value after the other, or drawn and
            not reparameterized; `TraceEnum_ELBO` takes these.

    Example:
        >>> import ppvae
        >>> from ppvae import data, pairs
        >>> digits = data.digits().labeled(known=100)
        >>> pair = pairs.SemiSupervisedVAE.of(digits, latent=2)
        >>> ppvae.fit(pair, digits, steps=5, objective=StickingTheLandingEnum_ELBO()).steps
        5
    """

    def __init__(
        self,
        *,
        num_particles: int = 1,
        max_plate_nesting: float = float("inf"),
        vectorize_particles: bool = False,
    ) -> None:
        super().__init__(
            num_particles=num_particles,
            max_plate_nesting=max_plate_nesting,
            vectorize_particles=vectorize_particles,
            strict_enumeration_warning=False,
        )

    def differentiable_loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Return the negative ELBO, in nats, with its gradient."""
        particles = [
            _elbo(model_trace, guide_trace)
            for model_trace, guide_trace in self._get_traces(model, guide, args, kwargs)
        ]
        loss: Tensor = -torch.stack(particles).sum() / self.num_particles
        warn_if_nan(loss, "loss")
        return loss

    def loss_and_grads(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """Return the negative ELBO, in nats, and add its gradients to the parameters'."""
        return add_gradients(self.differentiable_loss(model, guide, *args, **kwargs))

    def loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """Return the negative ELBO, in nats."""
        with torch.no_grad():
            number: float = torch_item(self.differentiable_loss(model, guide, *args, **kwargs))
        return number


def _elbo(model_trace: Trace, guide_trace: Trace) -> Tensor:
    """Return the ELBO of one particle."""
    guide, model = sample_sites(guide_trace), sample_sites(model_trace)
    if (reason := reason_against(guide, model)) is not None:
        raise Unsupported(f"StickingTheLandingEnum_ELBO: {reason}; take TraceEnum_ELBO")
    log_q = {
        site["infer"]["_enumerate_dim"]: site["unscaled_log_prob"]
        for site in guide.values()
        if is_enumerated(site)
    }
    terms = [site["log_prob"] for site in model.values()]
    terms += [-_through_the_draw(site) for site in guide.values()]
    return torch.stack([_expected(term, log_q) for term in terms]).sum()


def reason_against(guide: Sites, model: Sites) -> str | None:
    """Say which site cannot be summed out or drawn as this objective must, and why, if one.

    Args:
        guide: sample sites of the guide, before or after they are enumerated.
        model: those of the model.
    """
    for name, site in model.items():
        if not site["is_observed"] and name not in guide:
            return f"latent site {name!r} of the model is missing from the guide"
    for name, site in guide.items():
        if site["infer"].get("enumerate") == "sequential" or site["infer"].get("num_samples"):
            return f"guide site {name!r} does not ask to have all its values at once"
        if is_enumerated(site) or asks_for_enumeration(site):
            if "_markov_depth" in site["infer"]:  # one dimension is that of several sites
                return f"guide site {name!r} is enumerated within pyro.markov"
        elif not site["fn"].has_rsample:
            return (
                f"guide site {name!r} is drawn from {family_of(site)}, which cannot be "
                "reparameterized"
            )
    return None


def _through_the_draw(site: Site) -> Tensor:
    """Return the log density of a guide's site; of a draw, its gradient is that of the draw."""
    log_q: Tensor = site["log_prob"]
    if is_enumerated(site) or _is_flow(site["fn"]) or off_the_path(site) is not None:
        return log_q
    score = site["fn"].log_prob(site["value"].detach())
    left_out: Tensor = scale_and_mask(score - score.detach(), site["scale"], site["mask"])
    return log_q - left_out


def _is_flow(family: TorchDistribution) -> bool:
    while not isinstance(family, TransformedDistribution) and hasattr(family, "base_dist"):
        family = family.base_dist
    return isinstance(family, TransformedDistribution)


def _expected(term: Tensor, log_q: dict[int, Tensor]) -> Tensor:
    """Return the sum over datapoints of a term's expectation under the enumerated sites.

    Args:
        term: `(*values, *plates)`, with a dimension for each enumerated site that it depends on.
        log_q: log probabilities of enumerated sites, by the dimension of their values.
    """
    left, needed = dict(log_q), [term]
    # The probability of a site may depend on the value of another one, which is needed then too.
    while found := [dim for dim in left if any(_depends(of, dim) for of in needed)]:
        needed += [left.pop(dim) for dim in found]
    if len(needed) == 1:
        return term.sum()
    q = torch.stack(torch.broadcast_tensors(*needed[1:])).sum(0).exp()
    return (q * torch.where(q > 0, term, 0.0)).sum()


def _depends(values: Tensor, dim: int) -> bool:
    return -dim <= values.dim() and values.shape[dim] > 1
