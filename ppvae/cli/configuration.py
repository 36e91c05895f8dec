"""Configuration files: read, translated from older versions, and checked for foreign code."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ppvae.inference.persistence import present_name

_TRUSTED = ("ppvae", "torch.nn", "torch.optim", "pyro.infer", "pyro.optim")
_FILES = ("path", "folder")  # arguments that hold names of files
_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def is_import_path(text: str) -> bool:
    """Tell whether a text can be the import path of a class or function, with its module."""
    return _IMPORT_PATH.fullmatch(text) is not None


def read(path: Path) -> dict[str, Any]:
    """Read a configuration file; return its options under the names that they have now.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: it names no dataset, nor any other option")
    options: dict[str, Any] = present(content)
    # Up to version 0.1 `compile` could be the step from which on training was compiled.
    if isinstance(options.get("compile"), int) and not isinstance(options["compile"], bool):
        options["compile_from"] = options.pop("compile")
    return options


def present(content: Any) -> Any:
    """Return what a file holds, with the present names of classes and arguments.

    Example:
        >>> present({"class_path": "ppvae.data.colours", "init_args": {"rows": 60}})
        {'class_path': 'ppvae.data.colors', 'init_args': {'rows': 60}}
    """
    if isinstance(content, dict):
        return {present_name(str(name)): present(value) for name, value in content.items()}
    if isinstance(content, list):
        return [present(value) for value in content]
    if isinstance(content, str) and is_import_path(content):
        return present_name(content)
    return content


def distrust(content: Any, trust: Sequence[str], source: Path, name: str = "") -> None:
    """Refuse a configuration from a file that names classes of modules nobody vouched for.

    It is to be called before anything is imported that the file names.

    Args:
        content: what the file holds.
        trust: modules that may be named beside those of ppvae, torch and Pyro.
        source: the file.
        name: the option whose value `content` is.

    Raises:
        ValueError: with the class.
    """
    if isinstance(content, Mapping):
        for inner, value in content.items():
            if inner not in _FILES:
                distrust(value, trust, source, str(inner))
    elif isinstance(content, list):
        for value in content:
            distrust(value, trust, source, name)
    elif isinstance(content, str) and is_import_path(content):
        roots = (*_TRUSTED, *trust)
        if not any(content == root or content.startswith(f"{root}.") for root in roots):
            module = content.rpartition(".")[0]
            raise ValueError(
                f"{source} names {content!r} under {name!r}, which is neither of ppvae nor of "
                f"torch or Pyro; if you trust it, add --trust '[\"{module}\"]'"
            )
