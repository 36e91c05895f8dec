"""What a file may name: a closed list of classes and functions."""

import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ppvae.data import Dataset
from ppvae.inference.persistence.names import present_name

# Every public class of these rooms, and every public function that returns a dataset.
_ROOMS = (
    "ppvae.data",
    "ppvae.distributions",
    "ppvae.distributions.flows",
    "ppvae.inference",
    "ppvae.inference.objectives",
    "ppvae.likelihoods",
    "ppvae.networks",
    "ppvae.pairs",
    "ppvae.posteriors",
    "ppvae.priors",
)
_OTHERS = {
    "ppvae": ("VAE",),
    "ppvae.engine.compilation": ("generate", "replay"),
    "ppvae.likelihoods.counts": ("Counts",),
    "ppvae.networks.residual_block": ("ResidualBlock",),
    "torch.optim": (
        *("ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon"),
        *("NAdam", "RAdam", "RMSprop", "Rprop", "SGD", "SparseAdam"),
    ),
    "torch.optim.lr_scheduler": (
        *("ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts"),
        *("CyclicLR", "ExponentialLR", "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR"),
        *("OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR"),
    ),
    "pyro.infer": (
        *("EnergyDistance", "JitTraceEnum_ELBO", "JitTraceGraph_ELBO", "JitTraceMeanField_ELBO"),
        *("JitTrace_ELBO", "RenyiELBO", "TraceEnum_ELBO", "TraceGraph_ELBO"),
        *("TraceMeanField_ELBO", "TraceTMC_ELBO", "TraceTailAdaptive_ELBO", "Trace_ELBO"),
        "Trace_MMD",
    ),
    "torch.distributions.constraints": (
        *("cat", "greater_than", "greater_than_eq", "half_open_interval", "independent"),
        *("integer_interval", "interval", "less_than", "multinomial", "stack"),
    ),
}


class ClosedList:
    """What a file may name: public parts of `ppvae`, and of torch and Pyro what they are built of.

    A name is looked up among objects that are imported beforehand; no module of the name is
    imported, and no attribute of it is read. Only the caller, never a file, can add to the list.

    Args:
        trust: what may be named besides: `module.Name`, or a module for all that is defined in it.

    Raises:
        TypeError: if `trust` is no list.

    Example:
        >>> ClosedList().find("torch.nn.modules.activation.SiLU")
        <class 'torch.nn.modules.activation.SiLU'>
        >>> "os.system" in ClosedList(), "os.system" in ClosedList(trust=["os.system"])
        (False, True)
    """

    def __init__(self, trust: Sequence[str] = ()) -> None:
        if isinstance(trust, str):
            raise TypeError(f"trust must be a list of names, got the text {trust!r}")
        self._trust = tuple(trust)
        self._public: dict[str, Any] = {}
        self._own: dict[str, Any] = {}
        for name, found in _parts():
            self._public.setdefault(name, found)
            self._own.setdefault(f"{found.__module__}.{found.__qualname__}", found)

    def __contains__(self, name: object) -> bool:
        """Tell whether a file may name something; nothing is imported."""
        if not isinstance(name, str):
            return False
        present = present_name(name)
        listed = present in self._public or present in self._own
        return listed or ("." in present and self._trusts(present))

    def find(self, name: str) -> Any:
        """Return the class or function of a name.

        Raises:
            LookupError: if the name is not in the list, or the user trusts it and it does not
                exist.
        """
        name = present_name(name)
        for known in (self._public, self._own):
            if name in known:
                return known[name]
        if name not in self:
            raise LookupError(f"{name!r:.100} is not among the classes that a file may name")
        module, _, attribute = name.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise LookupError(f"there is no class {name!r} ({error})") from error
        # A trusted module holds foreign imports too; they are not what its user vouches for.
        vouched = name in self._trust or self._trusts(str(getattr(found, "__module__", "")))
        if not vouched or not (inspect.isclass(found) or inspect.isroutine(found)):
            raise LookupError(f"{name!r} is no class or function that is defined in {module}")
        return found

    def name_of(self, found: Any, name: str) -> str:
        """Return the public name of what `find` found under a name."""
        return next((known for known, part in self._public.items() if part is found), name)

    def public(self) -> Mapping[str, Any]:
        """Return what belongs to ppvae, torch and Pyro, by its public names."""
        return self._public

    def called(self, name: str) -> list[Any]:
        """Return what has a public name that ends in `name`."""
        return [part for known, part in self._public.items() if known.rpartition(".")[2] == name]

    def _trusts(self, name: str) -> bool:
        return any(f"{name}.".startswith(f"{trusted}.") for trusted in self._trust)


def _parts() -> Iterator[tuple[str, Any]]:
    """Yield public names with what they name."""
    nn = importlib.import_module("torch.nn")
    for module, names in _OTHERS.items():
        room = importlib.import_module(module)
        yield from (
            (f"{module}.{name}", getattr(room, name)) for name in names if hasattr(room, name)
        )
    for name in importlib.import_module("torch.nn.modules").__all__:
        if issubclass(getattr(nn, name), nn.Module):
            yield f"torch.nn.{name}", getattr(nn, name)
    for module in _ROOMS:
        room = importlib.import_module(module)
        for name in room.__all__:
            part = getattr(room, name)
            ours = str(getattr(part, "__module__", "")).startswith("ppvae.")
            if ours and (inspect.isclass(part) or _makes_data(part)):
                yield f"{module}.{name}", part


def _makes_data(part: Any) -> bool:
    return inspect.isfunction(part) and part.__annotations__.get("return") is Dataset
