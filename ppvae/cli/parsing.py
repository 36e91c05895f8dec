"""The parser of a command: what its words and configuration files choose, checked and built."""

import inspect
from argparse import ArgumentError
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_origin

import yaml
from jsonargparse import ArgumentParser, Namespace
from torch import nn

from ppvae.cli import choices, configuration
from ppvae.cli.checking import ON_THE_COMMAND_LINE, Checker
from ppvae.cli.chosen import Chosen
from ppvae.cli.class_help import help_of_class, help_of_dataset, help_of_pair
from ppvae.cli.commands import CHOICES, COMMANDS, DATA_HELP, TAKE_DATA
from ppvae.cli.first_look import Look, did_you_mean
from ppvae.cli.layout import show
from ppvae.cli.of_runs import by_name, group, namespace, of_run, of_schema, others_of
from ppvae.cli.structures import Structure, structure_of, without_pair
from ppvae.cli.words import Words
from ppvae.engine import seeded
from ppvae.inference.persistence import ClosedList
from ppvae.reports import Run

_DEFAULTS = {
    "network": {"class_path": "ppvae.networks.ResidualMLP"},
    "posterior": {"class_path": "ppvae.posteriors.DiagonalNormal"},
    "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 3e-3}},
    "schedule": {"class_path": "ppvae.inference.CosineDecay"},
}
_MAY_BE_NONE = ("schedule", "patience")
# Options that say where and how, not what: a configuration does not repeat them.
_CHECKPOINTS = ("checkpoint_seconds", "checkpoint_steps", "checkpoint_keep")
_SAID_ONCE = ("dataset", *_CHECKPOINTS, *ON_THE_COMMAND_LINE)


def execute(look: Look) -> int:
    """Parse the words of a command, build what they choose, and run it.

    Raises:
        ArgumentError: if a word does not fit.
        ValueError: if a configuration file is damaged, or says what a file may not say.
    """
    if "data.help" in look.given:
        name = look.last("data.help") or look.last("data")
        if name is None:
            raise ArgumentError(None, "--data.help tells the options of data; name some after it")
        described = choices.source(name)
        show(help_of_dataset(name, described.path, described.function))
        return 0
    if "pair.help" in look.given:
        show(help_of_pair(look.last("pair.help") or look.last("pair")))
        return 0
    asked = [name for name in look.given if name.endswith(".help") and look.command == "fit"]
    if asked:
        show(help_of_class(asked[0], Words(look.words, _DEFAULTS)))
        return 0
    trust = [name for text in look.given.get("trust", ()) for name in _listed(text)]
    options = {} if look.asks_for_help else _of_files(look, trust)
    of_pair = [name for name in look.given if name.startswith("pair.")]
    if of_pair and "pair" not in options and not look.asks_for_help:
        raise ArgumentError(None, f"--{of_pair[0]} needs a pair, chosen by --pair")
    data = choices.source(options.pop("data")) if "data" in options else None
    conditional, structure = False, None
    if look.command in TAKE_DATA:
        structure = structure_of(options.get("pair"), options.get("known_labels"))
    else:
        conditional = options.pop("conditional", False)
        structure = options.pop("structure", None)
    if structure is not None and look.command in TAKE_DATA:
        said = [name for name in options if options[name] not in (None, False)]
        structure.check([*look.given, *said])
        options["pair"] = dict(structure.arguments)
    filled = structure is None and _fill_in_features(look, options)
    parser = _parser(look.command, data, isinstance(options.get("pair"), Mapping), structure)
    given = {name: namespace(value) for name, value in options.items()}
    if data is not None:
        arguments = {name: namespace(value) for name, value in data.arguments.items()}
        given["data"] = group(arguments)
        _check_options_of_data(look, parser, data)
    words = Words(look.words, _DEFAULTS | options).named if look.command == "fit" else look.words
    if structure is not None and look.command == "fit":
        given["pair"] = group({n: namespace(v) for n, v in structure.arguments.items()})
        words = without_pair(words)
    parsed = parser.parse_args(list(words), namespace=group(given))
    assert data is not None  # `--help` has ended the program
    others = others_of(look, trust, parsed.seed)
    return _run(look.command, parser, parsed, data, filled, trust, conditional, others, structure)


def _run(
    command: str,
    parser: ArgumentParser,
    parsed: Namespace,
    data: choices.Source,
    filled: bool,
    trust: Sequence[str],
    conditional: bool,
    others: Sequence[Chosen],
    structure: Structure | None,
) -> int:
    seed = parsed.get("seed", 0)
    ours = structure is not None and command in TAKE_DATA
    pair = None if ours else parsed.pop("pair", None)
    with seeded(seed):
        arguments = parser.instantiate(parsed)
        with seeded(seed):  # what a dataset draws does not change the pair's first weights
            dataset = data.function(**by_name(arguments.get("data", group({}))))
        if filled and pair is not None:
            pair.init_args.features = dataset.event_shape.numel()
        made = None if pair is None else parser.instantiate(group({"pair": pair})).pair
    if structure is not None and ours:
        own = by_name(arguments.get("pair", group({})))
        structure = replace(structure, arguments=own, known_labels=parsed.known_labels)
    repeating = _configuration(parser, parsed, data, pair, structure if ours else None)
    if parsed.print_config:
        print(yaml.safe_dump(repeating, sort_keys=False), end="")
        return 0
    function = COMMANDS[command]
    names = inspect.signature(function).parameters.keys() - {"chosen"}
    chosen = Chosen(dataset, made, trust, repeating, conditional, structure, others)
    return function(chosen, **{name: arguments[name] for name in names})


def _of_files(look: Look, trust: Sequence[str]) -> dict[str, Any]:
    """Return the options that configuration files give, and what the words say of data and pair.

    Nothing that a file names is imported, unless it is in the closed list or `trust` has it.
    """
    # A pair that the words name is the user's own, also where the file names it too.
    listed = ClosedList([*trust, *look.given.get("pair", ())])
    options: dict[str, Any] = {}
    if look.command in TAKE_DATA:
        resumed = look.last("resume")
        files = [_to_read(path) for path in look.given.get("config", ())]
        if resumed is not None:
            files.insert(0, _to_resume(Path(resumed)))
        for path in files:
            options |= Checker(path, listed).options(configuration.read(path))
        if resumed is not None and "data" in options:
            options["data"] = of_schema(options["data"], Run(Path(resumed)))
        if look.last("data") is not None:
            options["data"] = look.last("data")
        if "data" not in options:
            raise ArgumentError(None, "the following arguments are required: data")
    else:
        options |= of_run(Path(look.given["run"][0]), listed)
    if look.last("pair") is not None:
        options["pair"] = look.last("pair")
    if isinstance(options.get("pair"), str):
        options["pair"] = {"class_path": options["pair"]}
    return options


def _to_read(path: str) -> Path:
    if path == "-":
        raise ValueError("--config - would be the standard input, which is not read; name a file")
    return Path(path).expanduser()


def _to_resume(folder: Path) -> Path:
    config = Run(folder).config
    if not config.exists():
        raise FileNotFoundError(
            f"{folder} holds no {config.name} to resume from; start the run anew"
        )
    return config


def _fill_in_features(look: Look, options: dict[str, Any]) -> bool:
    """Put a placeholder where a pair's argument `features` is to be filled from the data."""
    pair = options.get("pair")
    if not isinstance(pair, dict):
        return False
    arguments = dict(pair.get("init_args") or {})
    if look.given.keys() & {"pair.features", "pair.init_args.features"} or "features" in arguments:
        return False
    if not choices.takes_features(str(pair.get("class_path"))):
        return False
    options["pair"] = {**pair, "init_args": {**arguments, "features": 1}}
    return True


def _listed(text: str) -> list[str]:
    value = yaml.safe_load(text)
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _check_options_of_data(look: Look, parser: ArgumentParser, data: choices.Source) -> None:
    names = by_name(parser.get_defaults().get("data", group({})))
    for option in look.given:
        root, dotted, name = option.rstrip("+").partition(".")
        if root == "data" and dotted and name.partition(".")[0] not in names:
            others = [other for other in names if other not in data.arguments]
            instead = did_you_mean(name, names) or f"; it has {', '.join(others) or 'none'}"
            if name == "standardize":
                instead = "; leave it out, the VAE that ppvae makes scales the data itself"
            raise ArgumentError(None, f"--data: {data.path} has no option {name!r}{instead}")


def _parser(
    command: str, data: choices.Source | None, own_pair: bool, structure: Structure | None
) -> ArgumentParser:
    """Return the parser of a command with the options of the dataset and pair that are chosen."""
    function = COMMANDS[command]
    by_hand = _optional_or_several(function)
    parser = ArgumentParser(
        prog=f"ppvae {command}",
        description=(inspect.getdoc(function) or "").partition("\n\nArgs:")[0],
        exit_on_error=False,
        allow_abbrev=False,
        print_config=None,
    )
    if command in TAKE_DATA:
        parser.add_argument("dataset", metavar="data", nargs="?", help=DATA_HELP)
    for name, (annotation, explained) in CHOICES[command].items():
        if name == "config":
            parser.add_argument("--config", action="append", metavar="FILE", help=explained)
        elif name == "trust":
            also = ["--trust", "--trust+"]
            parser.add_argument(*also, action="append", metavar="NAME", help=explained)
        elif name == "pair" and structure is not None and command in TAKE_DATA:
            structure.add_options(parser)
        elif name == "pair":
            kind = nn.Module if own_pair else annotation
            parser.add_argument("--pair", type=kind, default=None, help=explained)
        else:
            parser.add_argument(f"--{name}", type=annotation, default=[], help=explained)
    parser.add_argument("--traceback", action="store_true", help="show the traceback of an error")
    told = "print the configuration that repeats the command, and exit"
    parser.add_argument("--print_config", action="store_true", help=told)
    if command == "sample":
        parser.add_argument("-n", "--n", type=int, default=100, help="number of datapoints")
    parser.add_function_arguments(
        function, as_group=False, as_positional=True, skip={"chosen", "n", *by_hand}
    )
    for name, several in by_hand.items():
        if several:
            parser.add_argument(name, nargs="+", type=Path)
        else:
            parser.add_argument(name, nargs="?", type=str)
    if data is not None:
        group = parser.add_argument_group(f"options of {data.path}")
        group.add_function_arguments(data.function, "data", as_group=False)
    if command == "fit":
        parser.set_defaults(_DEFAULTS)
    return parser


def _optional_or_several(function: Callable[..., Any]) -> dict[str, bool]:
    """Return arguments without a name of their own that may be left out, or be several.

    The parser would make an option of the first, and one value of the second.
    """
    found = {}
    for parameter in inspect.signature(function).parameters.values():
        several = get_origin(parameter.annotation) is list
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.name != "chosen":
            if several or parameter.default is not parameter.empty:
                found[parameter.name] = several
    return found


def _configuration(
    parser: ArgumentParser,
    parsed: Namespace,
    data: choices.Source,
    pair: Namespace | None,
    structure: Structure | None,
) -> dict[str, Any]:
    """Return the options that repeat a command, as YAML can hold them."""
    kept = parsed.clone()
    for name in _SAID_ONCE:
        kept.pop(name, None)
    options = yaml.safe_load(parser.dump(kept, skip_validation=True))
    # The parser does not write a number where a class could stand.
    numbers = {name: kept[name] for name in vars(kept) if isinstance(kept[name], int | float)}
    # It leaves out what is None, which these are not by default.
    options |= numbers | {
        name: None for name in _MAY_BE_NONE if name in kept and kept[name] is None
    }
    chosen: dict[str, Any] = {"class_path": data.path}
    if arguments := options.pop("data", None):
        chosen["init_args"] = arguments
    if structure is not None:
        return {"data": chosen, **structure.configured(options)}
    if pair is None:
        return {"data": chosen, **options}
    own = yaml.safe_load(parser.dump(group({"pair": pair}), skip_validation=True))
    return {"data": chosen, **own, **options}
