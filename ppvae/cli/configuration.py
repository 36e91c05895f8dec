"""Configuration files: read as plain data, under the names that options have now."""

import re
from pathlib import Path
from typing import Any

import yaml

from ppvae.data.plain_yaml import PlainLoader
from ppvae.inference.persistence import present_name, read_text

_LARGEST = 2**18  # bytes, a hundred times more than a run's configuration has
_OF_EVERY_RUN = {"optimizer", "kl_weight", "draws", "seed"}  # options in config.yaml
_IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


def is_import_path(text: str) -> bool:
    """Tell whether a text can be the import path of a class or function, with its module."""
    return _IMPORT_PATH.fullmatch(text) is not None


def read(path: Path) -> dict[str, Any]:
    """Read a configuration file; return its options under the names that they have now.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if it is no plain file.
        ValueError: if it is damaged, or larger or nested deeper than any configuration is.
    """
    text = read_text(path, _LARGEST)
    try:
        content = present(yaml.load(text, Loader=PlainLoader))
    except RecursionError as error:
        raise ValueError(f"{path} is damaged: it is nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a number with too many digits
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is damaged: {reason:.300}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: it names no dataset, nor any other option")
    # Up to version 0.1 `compile` could be the step from which on training was compiled.
    if isinstance(content.get("compile"), int) and not isinstance(content["compile"], bool):
        content["compile_from"] = content.pop("compile")
    # Up to version 0.2 options that were None were left out, and these two were None by default.
    missing: dict[str, Any] = {"schedule": None, "patience": None}
    return missing | content if _OF_EVERY_RUN <= content.keys() else content


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
