"""Creates what a pair makes at its first run, so that a pair that has not run yet can be loaded.

An autoguide makes its parameters when it is called first, from the latents that it finds in the
model. What it finds is saved as data: names, shapes, supports and plates. A model of these latents
alone stands in for the pair's own, so that no batch is needed, and no code of the file's is run.
"""

import contextlib
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from pyro.infer.autoguide import AutoGuide, AutoGuideList
from pyro.nn import PyroModule
from torch import Tensor, nn

from ppvae.engine import isolated
from ppvae.inference.persistence.described_constraints import describe_constraint, read_constraint

_DISCRETE = ("Bernoulli", "Categorical", "OneHotCategorical")  # all that autoguides take
_DEPTH = 100  # no tensor has more dimensions


def describe_autoguides(modules: nn.Module) -> dict[str, Any]:
    """Return what the autoguides that have run found in the model, as JSON, by path.

    An autoguide is left out where that cannot be written: a support that is not of the closed
    list, or a guide that keeps less of the model's sites (AutoStructured).
    """
    described = {}
    for path, guide in modules.named_modules():
        if isinstance(guide, AutoGuide) and guide.prototype_trace is not None:
            with contextlib.suppress(ValueError, KeyError):
                nodes = guide.prototype_trace.iter_stochastic_nodes()
                described[path] = [_describe(name, site) for name, site in nodes]
    return described


def make_first_parameters(
    modules: nn.Module, described: Any, tensors: Mapping[str, Tensor]
) -> None:
    """Create parameters that modules make at their first run; their values are arbitrary.

    These are: autoguides, PyroParams that are made when they are read, and torch's lazy modules.

    Args:
        modules: the pair's.
        described: what `describe_autoguides` returned.
        tensors: those saved, by name; only what is among them is created.

    Raises:
        ValueError: if `described` is damaged.
    """
    latents = _read(described, sum(tensor.numel() for tensor in tensors.values()))
    for name, tensor in [*modules.named_parameters(), *modules.named_buffers()]:
        if torch.nn.parameter.is_lazy(tensor) and name in tensors:
            with torch.no_grad():
                tensor.materialize(tensors[name].shape)
    device = next((tensor.device for tensor in modules.parameters()), torch.device("cpu"))
    with isolated(modules, seed=0):
        for path, guide in list(modules.named_modules()):
            if not isinstance(guide, AutoGuide) or guide.prototype_trace is not None:
                continue
            if path in latents and any(_within(name, path) for name in tensors):
                _run(guide, latents[path], device)
        present = {name for name, _ in modules.named_parameters()}
        for name in sorted(tensors.keys() - present):
            _read_attribute(modules, name)


def _within(name: str, path: str) -> bool:
    return not path or name.startswith(f"{path}.")


def _run(guide: AutoGuide, latents: list[dict[str, Any]], device: torch.device) -> None:
    """Run an autoguide on a model of the given latents instead of its own."""

    def model() -> None:
        plates = {}
        for latent in latents:
            with contextlib.ExitStack() as stack:
                for name, dim, size, full_size in latent["plates"]:
                    if name not in plates:
                        subsample = None if size == full_size else size
                        plates[name] = pyro.plate(name, full_size, subsample, dim=dim)
                    stack.enter_context(plates[name])
                pyro.sample(latent["name"], _stand_in(latent, device))

    own_model, own_plates = guide._model, guide.create_plates
    guide._model, guide.create_plates = (model,), None
    try:
        if isinstance(guide, AutoGuideList):  # its parts run after it, each on its own latents
            guide._setup_prototype()
            guide._create_plates()
        else:
            guide()
    except Exception:  # such as a guide that reads more of the model than its latents
        guide.prototype_trace = None
    finally:
        guide._model, guide.create_plates = own_model, own_plates


def _read_attribute(modules: nn.Module, name: str) -> None:
    """Read a PyroParam that is saved and missing: it is made when it is read first."""
    path, _, attribute = name.rpartition(".")
    with contextlib.suppress(AttributeError):
        owner = modules.get_submodule(path)
        if isinstance(owner, PyroModule) and attribute.endswith("_unconstrained"):
            getattr(owner, attribute.removesuffix("_unconstrained"))


class _Latent(dist.TorchDistribution):  # type: ignore[misc]
    """A latent of which only its value and support are known.

    Args:
        value: `(*batch, *event)`.
        support: of the value.
        event_dim: number of event dimensions.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = True

    def __init__(self, value: Tensor, support: constraints.Constraint, event_dim: int) -> None:
        self.value = value
        self._support = support
        split = value.dim() - event_dim
        super().__init__(value.shape[:split], value.shape[split:], validate_args=False)

    @constraints.dependent_property  # type: ignore[untyped-decorator]
    def support(self) -> constraints.Constraint:
        """Where the values lie."""
        return self._support

    def expand(self, batch_shape: Any, _instance: Any = None) -> "_Latent":
        """Return the latent with another batch shape."""
        value = self.value.expand([*batch_shape, *self.event_shape])
        return _Latent(value, self._support, self.event_dim)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Return the value."""
        return self.value.expand([*sample_shape, *self.value.shape])

    def log_prob(self, value: Tensor) -> Tensor:
        """Return zeros."""
        return value.new_zeros(value.shape[: value.dim() - self.event_dim])


def _stand_in(latent: Mapping[str, Any], device: torch.device) -> Any:
    shape, event_dim = latent["shape"], latent["event_dim"]
    if (family := latent["family"]) is not None:
        options = [latent["categories"]] if family == "Categorical" else []
        return getattr(dist, family)(logits=torch.zeros([*shape, *options], device=device))
    support = latent["support"]
    transform = torch.distributions.transform_to(support)
    zeros = torch.zeros(
        transform.inverse_shape(torch.Size(shape)), dtype=latent["dtype"], device=device
    )
    return _Latent(transform(zeros), support, event_dim)


def _describe(name: str, site: Any) -> dict[str, Any]:
    family = next((f for f in _DISCRETE if type(site["fn"]) is getattr(dist, f)), None)
    frames = [frame for frame in site["cond_indep_stack"] if frame.vectorized]
    return {
        "name": name,
        "shape": list(site["value"].shape),
        "event_dim": site["fn"].event_dim,
        "dtype": str(site["value"].dtype).removeprefix("torch."),
        "family": family,
        "categories": site["fn"].param_shape[-1] if family == "Categorical" else None,
        "support": None if family else describe_constraint(name, site["fn"].support),
        "plates": [[f.name, f.dim, int(f.size), int(f.full_size or f.size)] for f in frames],
    }


def _read(described: Any, most: int) -> dict[str, list[dict[str, Any]]]:
    """Check what `describe_autoguides` wrote; no latent may have more than `most` numbers."""
    try:
        return {
            str(path): [_latent(latent, most) for latent in latents]
            for path, latents in described.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise ValueError("it does not say what latents its autoguides have") from error


def _latent(latent: dict[str, Any], most: int) -> dict[str, Any]:
    shape, event_dim, family = latent["shape"], latent["event_dim"], latent["family"]
    numbers = [*shape, event_dim, *(n for plate in latent["plates"] for n in plate[2:])]
    dtype = getattr(torch, str(latent["dtype"]), None)
    if (
        not isinstance(latent["name"], str)
        or not all(type(number) is int and 0 <= number <= most for number in numbers)
        or not event_dim <= len(shape) <= _DEPTH
        or math.prod(shape) > most
        or not isinstance(dtype, torch.dtype)
        or family not in (None, *_DISCRETE)
        or (family == "Categorical" and not 0 < int(latent["categories"]) <= most)
    ):
        raise ValueError(latent["name"])
    support = None if family else read_constraint(latent["support"], dtype)
    plates = [(str(name), int(dim), size, full) for name, dim, size, full in latent["plates"]]
    return {**latent, "dtype": dtype, "support": support, "plates": plates}
