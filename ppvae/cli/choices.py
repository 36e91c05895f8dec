"""The dataset and the pair of a command: functions and classes that are chosen by name."""

import importlib
import inspect
import os
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ppvae.cli.configuration import is_import_path
from ppvae.data import Dataset
from ppvae.data.count_files import holds_counts
from ppvae.data.folders import holds_rows
from ppvae.data.tabular.reading import is_table_file

FILES = (".npy", ".npz")
DATASETS = (
    "digits",
    "mnist",
    "segments",
    "colors",
    "factors",
    "state_space",
    "eeg",
    "wine",
    "breast_cancer",
)
READERS = ("array", "counts", "images", "on_disk", "sequences", "table")

_LARGE = 2**30  # bytes of an array from which on its rows stay on disk


@dataclass(frozen=True)
class Source:
    """A function that returns a dataset.

    Args:
        path: its import path.
        function: itself.
        arguments: those of its arguments that are chosen already.
    """

    path: str
    function: Callable[..., Dataset]
    arguments: dict[str, Any] = field(default_factory=dict)


def source(chosen: Any) -> Source:
    """Return the source of the dataset that was chosen.

    Args:
        chosen: the name of a dataset, a file, a folder of pictures, the import path of a function
            that returns a dataset, or one of these with arguments, as configuration files have it:
            `{"class_path": path, "init_args": arguments}`.

    Raises:
        ValueError: if there is no such dataset.
    """
    arguments: dict[str, Any] = {}
    if isinstance(chosen, dict):
        arguments = dict(chosen.get("init_args") or {})
        chosen = chosen.get("class_path")
    if not isinstance(chosen, str):
        raise ValueError(f"data must be a name, a file or an import path, got {chosen!r}")
    reader = reader_of(chosen)
    if reader is not None:
        chosen, arguments = reader[0], {**arguments, **reader[1]}
    path = _import_path(chosen)
    found = imported(path, "--data")
    if not _returns_dataset(found):
        raise ValueError(f"--data: {path} is no function that returns a ppvae.data.Dataset")
    return Source(path, found, arguments)


def reader_of(name: str) -> tuple[str, dict[str, Any]] | None:
    """Return the function that reads a file or a folder, and its arguments.

    A name of a dataset or an import path is no folder; `./name` is.
    """
    if Path(name).suffix == ".npy" and Path(name).is_file() and _size(name) > _LARGE:
        return "ppvae.data.on_disk", {"path": name}
    if Path(name).suffix in FILES:
        return "ppvae.data.array", {"path": name}
    if is_table_file(name):
        return "ppvae.data.table", {"source": name}
    if name not in ("", *DATASETS, *READERS) and holds_counts(name):
        return "ppvae.data.counts", {"source": name}
    if name in ("", *DATASETS, *READERS) or is_import_path(name) or not os.path.isdir(name):
        return None
    if holds_rows(Path(name)):
        return "ppvae.data.on_disk", {"path": name}
    return "ppvae.data.images", {"folder": name}


def _size(name: str) -> int:
    return Path(name).stat().st_size


def _import_path(name: str) -> str:
    if name in (*DATASETS, *READERS):
        return f"ppvae.data.{name}"
    if is_import_path(name):
        return name
    raise ValueError(
        f"there is no dataset {name!r}; expected one of {', '.join(DATASETS)}, a table (.csv, "
        f".tsv, .xlsx, .parquet, ...), an array ({', '.join(FILES)}), counts (.h5ad, .mtx), a "
        "folder of pictures or of arrays, or "
        "the import path of a function that returns a dataset"
    )


def imported(path: str, option: str) -> Any:
    """Import what a path names.

    Raises:
        ValueError: if there is no such module, or nothing of the name in it.
    """
    module, _, name = path.rpartition(".")
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"{option}: {error}") from error
    if not hasattr(found, name):
        raise ValueError(f"{option}: module {module!r} has no attribute {name!r}")
    return getattr(found, name)


def _returns_dataset(found: Any) -> bool:
    """Tell whether something is annotated to return a dataset: nothing else is called."""
    if isinstance(found, type):
        return issubclass(found, Dataset)
    if not callable(found):
        return False
    try:
        returned = typing.get_type_hints(found).get("return")
    except NameError as error:
        raise ValueError(
            f"--data: the types of {found.__name__} cannot be read: {error}"
        ) from None
    except TypeError:  # a built-in function has none
        return False
    return isinstance(returned, type) and issubclass(returned, Dataset)


def takes_features(path: str) -> bool:
    """Tell whether a pair has an argument `features`, which is filled from the data.

    Raises:
        ValueError: if there is no such class.
    """
    found = imported(path, "--pair")
    try:
        return "features" in inspect.signature(found).parameters
    except (TypeError, ValueError):
        return False  # it is no class; the parser says so
