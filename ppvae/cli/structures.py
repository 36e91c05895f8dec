"""Our pairs with a structure of their own, which `--pair NAME` builds for the data."""

import inspect
from argparse import ArgumentError
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType
from typing import Any

from jsonargparse import ArgumentParser
from torch import nn

from ppvae import pairs
from ppvae.cli import annotations, class_names
from ppvae.cli.first_look import did_you_mean
from ppvae.data import Dataset
from ppvae.engine import seeded
from ppvae.pairs.programs import ProgramPair

_OF_FIT = ("latent", "network", "prior", "pseudo_inputs", "likelihood", "posterior")
_OF_A_VAE = (*_OF_FIT, "conditional")


@dataclass(frozen=True)
class Structure:
    """A class of ours, whose class method `of` builds the pair for a dataset.

    Args:
        kind: the class.
        arguments: those options of `of` that are chosen already.
        known_labels: how many training rows are told to the pair with their class; all unless
            given.
    """

    kind: type[ProgramPair]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    known_labels: int | None = None

    @property
    def path(self) -> str:
        """The public name of the class."""
        return f"ppvae.pairs.{self.kind.__name__}"

    @property
    def of_fit(self) -> list[str]:
        """The options that it takes from `fit`: those that mean the same in both."""
        types, _ = annotations.expected(self.kind.of)
        known = class_names.types_of_fit()
        return [name for name in _OF_FIT if name in types and _same(types[name], known[name])]

    @property
    def own(self) -> list[str]:
        """The options that are its own: `--pair.NAME`."""
        types, _ = annotations.expected(self.kind.of)
        return [name for name in types if name != "dataset" and name not in self.of_fit]

    def add_options(self, parser: ArgumentParser) -> None:
        """Add its own options to a parser."""
        skipped = {"dataset", *self.of_fit}
        parser.add_method_arguments(self.kind, "of", "pair", as_group=False, skip=skipped)

    def check(self, given: Iterable[str]) -> None:
        """Refuse options that neither the pair nor training has.

        Args:
            given: the options on the command line, dotted or not.

        Raises:
            ArgumentError: if there is one.
        """
        name = self.kind.__name__
        for option in given:
            root, _, rest = option.rstrip("+").partition(".")
            if root == "pair" and rest and rest.partition(".")[0] not in self.own:
                known = ", ".join(self.own) or "none"
                instead = did_you_mean(rest, self.own) or f"; it has {known}"
                if rest in self.of_fit:
                    instead = f"; it is --{rest}"
                raise ArgumentError(None, f"--pair: {name} has no option {rest!r}{instead}")
            if root in _OF_A_VAE and root not in self.of_fit:
                instead = f"; its own is --pair.{root}" if root in self.own else ""
                raise ArgumentError(None, f"--pair {name} takes no --{root}{instead}")
            if root == "known_labels" and not hasattr(self.kind, "classify"):
                raise ArgumentError(
                    None,
                    f"--known_labels is for a pair that finds the classes of the others, such as "
                    f"SemiSupervisedVAE; {name} does not",
                )

    def configured(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options that repeat a command, as a file has them."""
        left = {n: v for n, v in options.items() if n not in _OF_A_VAE or n in self.of_fit}
        chosen: dict[str, Any] = {"class_path": self.path}
        if arguments := left.pop("pair", None):
            chosen["init_args"] = arguments
        return {"pair": chosen, **left}

    def seen(self, dataset: Dataset) -> Dataset:
        """Return the dataset as the pair may know it: with the classes of some rows, or all."""
        if self.known_labels is None:
            return dataset
        return dataset.labeled(known=self.known_labels)

    def batches(self, dataset: Dataset) -> Dataset:
        """Return the dataset whose batches the pair takes."""
        return self.kind.batches_of(self.seen(dataset))

    def built(self, dataset: Dataset, parts: Mapping[str, Any], seed: int) -> nn.Module:
        """Return the pair for a dataset, with those options of `fit` that it takes."""
        taken = {name: part for name, part in parts.items() if part is not None}
        given = {name: taken[name] for name in self.of_fit if name in taken}
        with seeded(seed):
            return self.kind.of(self.seen(dataset), **given, **self.arguments)


def structure_of(chosen: Any, known_labels: int | None = None) -> Structure | None:
    """Return the pair of ours that a command or file chooses; None if it is the user's own.

    Args:
        chosen: a name, or `{"class_path": name, "init_args": arguments}`.
        known_labels: how many training rows have a class.

    Raises:
        ValueError: if it is a last name, and no pair of ours has it.
    """
    arguments: Mapping[str, Any] = {}
    if isinstance(chosen, Mapping):
        arguments, chosen = chosen.get("init_args") or {}, chosen.get("class_path")
    if not isinstance(chosen, str):
        return None
    kinds = structures()
    by_letters = {name.lower(): kind for name, kind in kinds.items()}
    kind = by_letters.get(chosen.removeprefix("ppvae.pairs.").lower())
    if kind is not None:
        return Structure(kind, arguments, known_labels)
    if "." in chosen or not class_names.is_last_name(chosen):
        return None
    if chosen.lower() == "vae":
        raise ValueError("--pair VAE is what `ppvae fit` builds by itself: leave it out")
    raise ValueError(
        f"there is no pair {chosen}; expected one of {', '.join(kinds)}, or the import path of "
        f"your own, such as mymodule.MyPair{did_you_mean(chosen, kinds)}"
    )


def structures() -> dict[str, type[ProgramPair]]:
    """Return our pairs that are built for a dataset, by their names."""
    found = {name: getattr(pairs, name) for name in pairs.__all__}
    return {
        name: kind
        for name, kind in found.items()
        if inspect.isclass(kind) and issubclass(kind, ProgramPair)
        if kind is not ProgramPair and "of" in vars(kind)
    }


def without_pair(words: Sequence[str]) -> list[str]:
    """Return the words but for `--pair NAME`, which has been read."""
    following = ["", *words[:-1]]
    return [
        word
        for word, before in zip(words, following, strict=True)
        if word != "--pair" and before != "--pair" and not word.startswith("--pair=")
    ]


def _same(types: Sequence[Any], of_fit: Sequence[Any]) -> bool:
    return {*types} - {NoneType} == {*of_fit} - {NoneType}
