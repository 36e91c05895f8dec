"""In which options the configurations of several runs differ."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from ppvae.data.plain_yaml import PlainLoader
from ppvae.reports.page.contents import Section, Text
from ppvae.reports.page.subject import Subject
from ppvae.reports.page.tables import Cell, Table

_CLASS = re.compile(r"^(?:ppvae|torch|pyro)(?:\.\w+)*\.(\w+)$")


def options_section(subjects: Mapping[str, Subject]) -> Section:
    """Return the options that differ, a column for each run."""
    flat = {name: _flat(_options(subject)) for name, subject in subjects.items()}
    keys = list(dict.fromkeys(key for each in flat.values() for key in each))
    differing = [key for key in keys if len({each.get(key, "-") for each in flat.values()}) > 1]
    if not differing:
        text = "The configurations are the same, the weights may differ."
        return Section("configuration", "In what the runs differ", [Text(text)])
    rows = tuple(
        (Cell(key), *(Cell(each.get(key, "-")) for each in flat.values())) for key in differing
    )
    table = Table("Options that differ", ("option", *subjects), rows)
    return Section("configuration", "In what the runs differ", [table])


def _options(subject: Subject) -> Any:
    try:
        return yaml.load(subject.configuration, Loader=PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {"config.yaml": subject.configuration}


def _flat(value: Any, name: str = "") -> dict[str, str]:
    """Return nested options as one level, with dotted names."""
    if not isinstance(value, dict):
        text = str(value)
        # Classes are known by their last name.
        return {name or "-": _CLASS.sub(r"\1", text)}
    found: dict[str, str] = {}
    for key, each in value.items():
        short = {"class_path": "", "init_args": ""}.get(str(key), str(key))
        found |= _flat(each, ".".join(part for part in (name, short) if part))
    return found
