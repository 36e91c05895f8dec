"""The classes that an option may name, found by their last names."""

import inspect
import re
from typing import Any, get_args

import torch
from pyro.infer import ELBO
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from ppvae.cli import annotations, meant
from ppvae.cli.annotations import Types
from ppvae.cli.fitting import fit
from ppvae.inference.persistence import ClosedList
from ppvae.likelihoods import Likelihood
from ppvae.posteriors import Posterior
from ppvae.priors import Prior

_NAMES = {  # what the annotations of the commands name
    "torch": torch,
    "nn": nn,
    "ELBO": ELBO,
    "LRScheduler": LRScheduler,
    "Likelihood": Likelihood,
    "Posterior": Posterior,
    "Prior": Prior,
}
_LAST_NAME = re.compile(r"[^\W\d]\w*")
_OURS_AND_THEIRS = ("ppvae.", "torch.", "pyro.")
_NO_NAMES = ("null", "true", "false", "yes", "no", "on", "off", "nan", "inf", "infinity")
# Where an option's classes are, if its annotation allows more than what is meant.
_ROOMS = {"network": "ppvae.networks", "activation": "torch.nn"}

_MOST_SHOWN = 50  # names in a sentence


def types_of_fit() -> dict[str, Types]:
    """Return the types that each option of `fit` may have."""
    types, _ = annotations.expected(fit, _NAMES)
    del types["chosen"]
    return types


def whole_name(word: str, option: str, types: Types, listed: ClosedList) -> str:
    """Return the whole name of a class that a word calls by its last name, or the word itself.

    Letters may be small where they are capital, if only one class fits then.

    Args:
        word: what was given.
        option: where, such as `likelihood`; of an option of a class, the last part.
        types: what the option may be.
        listed: the classes that may be named so.
    """
    fitting = [p for p in listed.called(word) if annotations.fits(p, types)]
    if len({id(part) for part in fitting}) == 1:
        return listed.name_of(fitting[0], word)
    alike = [
        found
        for name, found in classes_for(option, types, listed).items()
        if name.lower() == word.lower()
    ]
    return listed.name_of(alike[0], word) if len(alike) == 1 else word


def classes_for(option: str, types: Types, listed: ClosedList) -> dict[str, Any]:
    """Return the classes that an option may name, by their last names, in alphabetical order.

    They are those of the closed list that are what the option wants and can be called with what
    it is called with.
    """
    wanted, room = annotations.classes_in(types), _ROOMS.get(option, "")
    found = {
        name.rpartition(".")[2]: part
        for name, part in listed.public().items()
        if inspect.isclass(part) and not inspect.isabstract(part)
        if not room or name.rpartition(".")[0] == room
        if any(annotations.fits(part, (hint,)) and _is_called_so(part, hint) for hint in wanted)
    }
    return {name: found[name] for name in sorted(found) if not name.startswith("Jit")}


def _is_called_so(part: Any, hint: Any) -> bool:
    """Tell whether a class can be called as an annotation says, or its objects can."""
    given, returned = arguments_given(hint), get_args(hint)[-1:]
    if returned and not annotations.classes_in(returned):
        calls = [vars(base)["__call__"] for base in part.__mro__ if "__call__" in vars(base)]
        return bool(calls) and inspect.signature(calls[0]).return_annotation is returned[0]
    try:
        parameters = list(inspect.signature(part).parameters.values())
    except ValueError:
        return True
    first = parameters[: len(given)]
    numbers = [parameter.annotation is int for parameter in first]
    if any(_is_narrower(*each) for each in zip(first, given, strict=False)):
        return False
    return numbers == [argument is int for argument in given] and all(
        _can_be_said(part, parameter) for parameter in parameters[len(given) :]
    )


def _is_narrower(parameter: inspect.Parameter, given: Any) -> bool:
    """Tell whether an argument may be left out, or wants more than it gets, such as a factor."""
    wanted = parameter.annotation
    if inspect.isclass(wanted) and inspect.isclass(given) and wanted is not given:
        return issubclass(wanted, given)
    return parameter.default is not parameter.empty


def _can_be_said(part: Any, parameter: inspect.Parameter) -> bool:
    """Tell whether an argument may be left out, or is neither a class nor a list of classes."""
    if parameter.default is not parameter.empty or parameter.kind is parameter.VAR_KEYWORD:
        return True
    types = annotations.expected(part)[0].get(parameter.name, ())
    parts = (*types, *annotations.items_of(types))
    return not annotations.classes_in(parts) and "Callable" not in str(types)


def arguments_given(hint: Any) -> list[Any]:
    """Return the types of what a class is called with before its own options."""
    arguments = get_args(hint)
    given = arguments[0] if len(arguments) == 2 else []
    constructed = isinstance(given, list) and annotations.classes_in(arguments[1:])
    return list(given) if constructed else []


def is_last_name(word: str) -> bool:
    """Tell whether a word can be the last name of a class."""
    return _LAST_NAME.fullmatch(word) is not None and word.lower() not in _NO_NAMES


def is_known_place(word: str) -> bool:
    """Tell whether a word names something of ppvae, torch or Pyro."""
    return word.startswith(_OURS_AND_THEIRS) and word.replace(".", "").isidentifier()


def what_could_be(word: str, option: str, types: Types, listed: ClosedList) -> str:
    """Return the end of a sentence on an unknown class: which ones there are, which is meant."""
    names = classes_for(option, types, listed)
    ours = [name for name, part in names.items() if part.__module__.startswith("ppvae.")]
    suggested = meant.class_meant(word.rpartition(".")[2], names, option)
    listed_names = ours if len(ours) > 1 else names  # one of ours would hide all others
    shown = [name for name in names if name in listed_names or name == suggested]
    expected = f"; expected one of {', '.join(shown)}" if shown else ""
    if len(shown) > _MOST_SHOWN:
        expected = f"; expected one of {len(shown)} classes, from {shown[0]} to {shown[-1]}"
    return f"{expected}; did you mean {suggested}?" if suggested else expected


def imported_subclass(word: str, types: Types) -> bool:
    """Tell whether a class that was imported already has a last name and is what is wanted."""
    bases = [get_args(hint)[-1] if get_args(hint) else hint for hint in types]
    below = [_below(base) for base in bases if isinstance(base, type)]
    return any(part.__name__ == word for parts in below for part in parts)


def _below(base: type) -> set[type]:
    direct: set[type] = set(type.__subclasses__(base))
    return direct.union(*map(_below, direct))
