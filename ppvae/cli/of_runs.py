"""What the configuration of a run chooses: its data, and what its pair takes of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from ppvae.cli import choices, configuration
from ppvae.cli.checking import Checker
from ppvae.cli.chosen import Chosen
from ppvae.cli.first_look import Look
from ppvae.cli.structures import Structure, structure_of
from ppvae.engine import seeded
from ppvae.inference.persistence import ClosedList
from ppvae.reports import Run


def of_run(folder: Path, listed: ClosedList) -> dict[str, Any]:
    """Return the data of a run, its pair if it is one of ours, and whether it is conditional."""
    run = Run(folder)
    content = configuration.read(run.config)
    if not isinstance(content.get("data"), dict | str):
        raise ValueError(f"{run.config} is damaged: it names no dataset under `data`")
    options = Checker(run.config, listed).options(content)
    return {
        "data": of_schema(options["data"], run),
        "conditional": content.get("conditional") is True,
        "structure": _structure(options),
    }


def _structure(options: Mapping[str, Any]) -> Structure | None:
    try:
        return structure_of(options.get("pair"), options.get("known_labels"))
    except ValueError:
        return None  # a class by its last name, that the caller's own pair has


def others_of(look: Look, trust: Sequence[str], seed: int) -> list[Chosen]:
    """Return what the configurations of all runs but the first choose."""
    return [chosen_of(Path(run), trust, seed) for run in look.given.get("run", ())[1:]]


def chosen_of(folder: Path, trust: Sequence[str], seed: int) -> Chosen:
    """Return what the configuration of a run chooses: its data, as they were split."""
    options = of_run(folder, ClosedList(trust))
    source = choices.source(options["data"])
    parser = ArgumentParser(exit_on_error=False)
    parser.add_function_arguments(source.function, "data", as_group=False)
    given = {name: namespace(value) for name, value in source.arguments.items()}
    parsed = parser.parse_args([], namespace=group({"data": group(given)}))
    with seeded(seed):
        arguments = by_name(parser.instantiate(parsed).get("data", group({})))
        with seeded(seed):
            dataset = source.function(**arguments)
    return Chosen(
        dataset,
        trust=trust,
        conditional=options["conditional"],
        structure=options["structure"],
    )


def of_schema(data: Any, run: Run) -> Any:
    """Return the data of a run, a table by the schema that was found then."""
    if run.schema is None or not isinstance(data, dict):
        return data
    found = {name: v for name, v in (data.get("init_args") or {}).items() if name != "types"}
    return {**data, "init_args": {**found, "schema": str(run.schema)}}


def namespace(value: Any) -> Any:
    """Return a class with its arguments as the parser has them; any other value as it is."""
    if isinstance(value, dict) and "class_path" in value:
        arguments = value.get("init_args") or {}
        inner = {name: namespace(argument) for name, argument in arguments.items()}
        return group({"class_path": value["class_path"], "init_args": group(inner)})
    return value


def group(values: Mapping[str, Any]) -> Namespace:
    """Return values by name as the parser has them."""
    return Namespace(**values)  # type: ignore[no-untyped-call]


def by_name(values: Namespace) -> dict[str, Any]:
    """Return a group's values by name.

    The parser puts a mark before names that its group has itself, such as `values`.
    """
    return {name.removeprefix("\u200b"): value for name, value in vars(values).items()}
