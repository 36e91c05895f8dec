"""Pairs that are built of factors: their programs, and how they are called outside of these."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Self, TypeVar
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from ppvae.data import Dataset, html_table
from ppvae.engine import announce, modules_of
from ppvae.posteriors import Posterior
from ppvae.priors import Prior

P = TypeVar("P", bound="ProgramPair")


class Program(nn.Module, Generic[P]):
    """A pair's model or guide: what Pyro is given, since `Trace_ELBO()(...)` refuses methods.

    A subclass writes `forward(*batch)` in plain Pyro, with the factors of `self.pair`.
    """

    def __init__(self, pair: P) -> None:
        super().__init__()
        self.pair = pair

    def __call__(self, *batch: Any, **named: Any) -> Any:
        """Announce the parameters of the whole pair, then run the program."""
        announce(self.pair)
        return super().__call__(*batch, **named)


class ProgramPair(nn.Module):
    """A pair of Pyro programs, which hold the factors of one module.

    `pair.model` and `pair.guide` go wherever Pyro takes a model and a guide: `SVI`, `Predictive`,
    `poutine.trace`, `Trace_ELBO()(pair.model, pair.guide)`. Parameters live in the pair, never in
    Pyro's parameter store.

    A pair that `ppvae fit DATA --pair NAME` can build has the class method `of(dataset, ...)`, and
    `batches_of(dataset)` if it takes something else than `dataset.batch(...)`.
    """

    # Not in `vars`: whatever walks, compares, copies or pickles a module does not meet it.
    __slots__ = ("_programs",)

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Build the pair for a dataset; factors and sizes of the networks follow from the data."""
        raise NotImplementedError(f"{cls.__name__} is built of its factors")

    @classmethod
    def batches_of(cls, dataset: Dataset) -> Dataset:
        """Return the dataset whose batches the pair takes."""
        return dataset

    def program(self, kind: type[Program[Any]]) -> nn.Module:
        """Return the pair's one program of a kind, as long as anybody holds it.

        `Compiled` knows programs by identity. The reference is weak: a program holds its pair.
        """
        programs = getattr(self, "_programs", None)
        if programs is None:
            programs = self._programs = WeakValueDictionary[type, Program[Any]]()
        program = programs.get(kind)
        if program is None:
            program = programs[kind] = kind(self)
        return program

    def facts(self) -> dict[str, str]:
        """Return what a notebook shows of the pair, by name: its factors."""
        return {name: type(factor).__name__ for name, factor in self.named_children()}

    def _repr_html_(self) -> str:
        """Return the factors and the number of parameters as a table, which notebooks show.

        `repr` shows every module, as torch does.
        """
        count = sum(parameter.numel() for parameter in self.parameters())
        rows = [*self.facts().items(), ("parameters", f"{count:,}")]
        return html_table(type(self).__name__, rows)

    def __getstate__(self) -> dict[str, Any]:
        """Return what `copy` and `pickle` take, without the programs, which a copy makes anew."""
        return vars(self)


@contextmanager
def evaluating(pair: nn.Module, given: Sequence[Tensor] = ()) -> Iterator[None]:
    """Put a pair's modules in evaluation mode; record a graph only if `given` requires one."""
    recorded = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)
    training = [module for module in modules_of(pair) if module.training]
    for module in training:
        module.training = False
    try:
        with torch.set_grad_enabled(recorded):
            yield
    finally:
        for module in training:
            module.training = True


def check_roles(pair: nn.Module, **factors: tuple[object, type]) -> None:
    """Refuse a factor that is not of its role.

    Raises:
        TypeError: if one is not.
    """
    for name, (factor, role) in factors.items():
        if not isinstance(factor, role):
            raise TypeError(
                f"{type(pair).__name__} needs {name} to be a {role.__module__}.{role.__name__}, "
                f"got {type(factor).__name__}"
            )


def check_supports(pair: nn.Module, prior: Prior, posterior: Posterior | Prior) -> None:
    """Refuse a prior and a posterior that do not have the same support.

    Raises:
        ValueError: if they have not.
    """
    # By their text: constraints have no equality, and a property may make one at each call.
    if repr(prior.support) != repr(posterior.support):
        raise ValueError(
            f"{type(pair).__name__} needs a prior and a posterior of one support, got prior "
            f"{type(prior).__name__} on {prior.support} and posterior {type(posterior).__name__} "
            f"on {posterior.support}: take both on the sphere, such as UniformSphere with "
            "PowerSpherical, or neither"
        )
