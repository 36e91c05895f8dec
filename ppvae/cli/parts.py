"""The dataset and the pair of a command: chosen by name, with options of their own."""

import importlib
import inspect
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonargparse
from jsonargparse import ArgumentParser
from torch import nn

from ppvae.data import Dataset

Config = dict[str, Any]
"""A class or function by import path, with its arguments, as jsonargparse writes it."""

_TRUSTED = ("ppvae", "torch.nn", "torch.optim", "pyro.infer", "pyro.optim")
_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_FILES = (".npy", ".npz", ".csv")
_DATASETS = ("digits", "mnist", "segments", "colors", "factors")

# A function that returns a dataset is taken by its import path, with its arguments as options.
jsonargparse.set_parsing_settings(subclasses_enabled=[Dataset], import_path_denylist=[])


def extract(words: Sequence[str], name: str) -> tuple[list[str], list[str]]:
    """Part the words about `--name` and `--name.option`, values included, from all others.

    Example:
        >>> extract(["fit", "mnist", "--data.seed", "3", "--epochs=2"], "data")
        (['fit', 'mnist', '--epochs=2'], ['--data.seed', '3'])
    """
    rest, own = [], []
    remaining = iter(words)
    for word in remaining:
        if re.match(rf"--{name}([.=]|$)", word):
            own.append(word)
            if "=" not in word:
                own += [value for value in [next(remaining, None)] if value is not None]
        else:
            rest.append(word)
    return rest, own


def values(words: Sequence[str], name: str) -> list[str]:
    """Return what `--name value` and `--name=value` give, in order.

    Example:
        >>> values(["fit", "--config", "a.yaml", "--config=b.yaml"], "config")
        ['a.yaml', 'b.yaml']
    """
    found = []
    for word, following in pairwise([*words, ""]):
        if word == f"--{name}":
            found.append(following)
        elif word.startswith(f"--{name}="):
            found.append(word.partition("=")[2])
    return found


def dataset(chosen: str | Config, words: Sequence[str] = ()) -> tuple[Dataset, Config]:
    """Return the dataset that was chosen, and the configuration that repeats the choice.

    Args:
        chosen: the name of a dataset, a file, the import path of a function that returns a
            dataset, or a configuration.
        words: options of the dataset, such as `--data.seed 3`.

    Raises:
        ValueError: if there is no such dataset, or it cannot be made.
    """
    if isinstance(chosen, str):
        if Path(chosen).suffix in _FILES:
            chosen = {"class_path": "ppvae.data.array", "init_args": {"path": chosen}}
        else:
            chosen = {"class_path": _import_path(chosen)}
    made, config = _instantiate("data", Dataset, chosen, words)
    if not isinstance(made, Dataset):
        raise ValueError(f"--data: {chosen['class_path']} returns no ppvae.data.Dataset")
    return made, config


def _import_path(name: str) -> str:
    if name in _DATASETS:
        return f"ppvae.data.{name}"
    if _IMPORT_PATH.fullmatch(name):
        return name
    raise ValueError(
        f"there is no dataset {name!r}; expected one of {', '.join(_DATASETS)}, a file "
        f"{', '.join(_FILES)}, or the import path of a function that returns a dataset"
    )


def describe_dataset(name: str) -> None:
    """Print what a dataset is and which options it has.

    Raises:
        ValueError: if there is no such dataset.
    """
    path = "ppvae.data.array" if name == "array" else _import_path(name)
    module, _, function = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"--data.help: {error}") from error
    about = (inspect.getdoc(found) or "").partition("\n\nArgs:")[0]
    parser = ArgumentParser(prog=f"ppvae fit {name}", description=about)
    parser.add_function_arguments(found, "data", as_group=False)
    parser.print_help()


def pair(
    chosen: str | Config | None, words: Sequence[str], sizes: Dataset
) -> tuple[nn.Module, Config] | None:
    """Return the pair of the user's own that was chosen, if one was, and its configuration.

    An argument `features` that its class has and no one set is filled from the data.

    Raises:
        ValueError: if there is no such class, or its arguments do not fit.
    """
    if chosen is None and not words:
        return None
    config: Config = {"class_path": chosen} if isinstance(chosen, str) else dict(chosen or {})
    for path in values(words, "pair"):
        config = {"class_path": path}
        words = [word for word in words if word not in ("--pair", path, f"--pair={path}")]
    arguments = dict(config.get("init_args") or {})
    given = "features" in arguments or any(w.startswith("--pair.features") for w in words)
    if not given and _takes_features(str(config.get("class_path"))):
        arguments["features"] = sizes.event_shape.numel()
    made, config = _instantiate("pair", nn.Module, {**config, "init_args": arguments}, words)
    return made, config


def _takes_features(path: str) -> bool:
    module, _, name = path.rpartition(".")
    try:
        return (
            "features"
            in inspect.signature(getattr(importlib.import_module(module), name)).parameters
        )
    except (ImportError, AttributeError, TypeError, ValueError):
        return False  # the parser says what is wrong with the name


def _instantiate(
    name: str, kind: type, chosen: Config, words: Sequence[str]
) -> tuple[Any, Config]:
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_argument(f"--{name}", type=kind, required=True)
    begun = [] if chosen.get("init_args") else [f"--{name}={chosen.get('class_path')}"]
    try:
        parser.set_defaults({name: chosen})
        options = parser.parse_args([*begun, *words])
    except ImportError as error:
        raise ValueError(f"--{name}: {error}") from error
    config: Config = options.clone().as_dict()[name]
    return getattr(parser.instantiate(options), name), config


def distrust(config: Any, trust: Sequence[str], source: Path, key: str = "") -> None:
    """Refuse a configuration from a file that names classes of modules nobody vouched for.

    Args:
        config: what the file holds.
        trust: modules that may be named beside those of ppvae, torch and Pyro.
        source: the file.
        key: where in the file `config` stands.

    Raises:
        ValueError: with the class.
    """
    if isinstance(config, dict):
        for name, value in config.items():
            if name not in ("path", "folder"):  # these hold names of files
                distrust(value, trust, source, str(name))
    elif isinstance(config, list):
        for value in config:
            distrust(value, trust, source, key)
    elif isinstance(config, str) and _IMPORT_PATH.fullmatch(config):
        roots = (*_TRUSTED, *trust)
        if not any(config == root or config.startswith(f"{root}.") for root in roots):
            module = config.rpartition(".")[0]
            raise ValueError(
                f"{source} names {config!r} under {key!r}, which is neither of ppvae nor of torch "
                f"or Pyro; if you trust it, add --trust '[\"{module}\"]'"
            )
