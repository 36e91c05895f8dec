"""The parser of a command: what its words and configuration files choose, checked and built."""

import inspect
from argparse import ArgumentError
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_origin

import yaml
from jsonargparse import ArgumentParser, Namespace
from torch import nn

from ppvae.cli import choices, configuration
from ppvae.cli.checking import ON_THE_COMMAND_LINE, Checker
from ppvae.cli.chosen import Chosen
from ppvae.cli.class_help import help_of_class, help_of_dataset
from ppvae.cli.commands import CHOICES, COMMANDS, DATA_HELP, TAKE_DATA
from ppvae.cli.first_look import Look, did_you_mean
from ppvae.cli.layout import show
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
    conditional = look.command not in TAKE_DATA and options.pop("conditional", False)
    filled = _fill_in_features(look, options)
    parser = _parser(look.command, data, isinstance(options.get("pair"), Mapping))
    given = {name: _namespace(value) for name, value in options.items()}
    if data is not None:
        arguments = {name: _namespace(value) for name, value in data.arguments.items()}
        given["data"] = _group(arguments)
        _check_options_of_data(look, parser, data)
    words = Words(look.words, _DEFAULTS | options).named if look.command == "fit" else look.words
    parsed = parser.parse_args(list(words), namespace=_group(given))
    assert data is not None  # `--help` has ended the program
    others = _others(look, trust, parsed.seed)
    return _run(look.command, parser, parsed, data, filled, trust, conditional, others)


def _run(
    command: str,
    parser: ArgumentParser,
    parsed: Namespace,
    data: choices.Source,
    filled: bool,
    trust: Sequence[str],
    conditional: bool,
    others: Sequence[Chosen],
) -> int:
    seed = parsed.get("seed", 0)
    pair = parsed.pop("pair", None)
    with seeded(seed):
        arguments = parser.instantiate(parsed)
        with seeded(seed):  # what a dataset draws does not change the pair's first weights
            dataset = data.function(**vars(arguments.get("data", _group({}))))
        if filled:
            pair.init_args.features = dataset.event_shape.numel()
        own = None if pair is None else parser.instantiate(_group({"pair": pair})).pair
    repeating = _configuration(parser, parsed, data, pair)
    if parsed.print_config:
        print(yaml.safe_dump(repeating, sort_keys=False), end="")
        return 0
    function = COMMANDS[command]
    names = inspect.signature(function).parameters.keys() - {"chosen"}
    chosen = Chosen(dataset, own, trust, repeating, conditional, others)
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
            options["data"] = _of_schema(options["data"], Run(Path(resumed)))
        if look.last("data") is not None:
            options["data"] = look.last("data")
        if "data" not in options:
            raise ArgumentError(None, "the following arguments are required: data")
    else:
        options |= _of_run(Path(look.given["run"][0]), listed)
    if look.last("pair") is not None:
        options["pair"] = look.last("pair")
    if isinstance(options.get("pair"), str):
        options["pair"] = {"class_path": options["pair"]}
    return options


def _of_run(folder: Path, listed: ClosedList) -> dict[str, Any]:
    """Return the data of a run, and whether its pair is given the class of each datapoint."""
    run = Run(folder)
    content = configuration.read(run.config)
    if not isinstance(content.get("data"), dict | str):
        raise ValueError(f"{run.config} is damaged: it names no dataset under `data`")
    data = _of_schema(Checker(run.config, listed).options(content)["data"], run)
    return {"data": data, "conditional": content.get("conditional") is True}


def _others(look: Look, trust: Sequence[str], seed: int) -> list[Chosen]:
    """Return what the configurations of all runs but the first choose."""
    return [chosen_of(Path(run), trust, seed) for run in look.given.get("run", ())[1:]]


def chosen_of(folder: Path, trust: Sequence[str], seed: int) -> Chosen:
    """Return what the configuration of a run chooses: its data, as they were split."""
    options = _of_run(folder, ClosedList(trust))
    source = choices.source(options["data"])
    parser = ArgumentParser(exit_on_error=False)
    parser.add_function_arguments(source.function, "data", as_group=False)
    given = {name: _namespace(value) for name, value in source.arguments.items()}
    parsed = parser.parse_args([], namespace=_group({"data": _group(given)}))
    with seeded(seed):
        arguments = vars(parser.instantiate(parsed).get("data", _group({})))
        with seeded(seed):
            dataset = source.function(**arguments)
    return Chosen(dataset, None, trust, {}, options["conditional"])


def _of_schema(data: Any, run: Run) -> Any:
    """Return the data of a run, a table by the schema that was found then."""
    if run.schema is None or not isinstance(data, dict):
        return data
    found = {name: v for name, v in (data.get("init_args") or {}).items() if name != "types"}
    return {**data, "init_args": {**found, "schema": str(run.schema)}}


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


def _namespace(value: Any) -> Any:
    """Return a class with its arguments as the parser has them; any other value as it is."""
    if isinstance(value, dict) and "class_path" in value:
        arguments = value.get("init_args") or {}
        inner = {name: _namespace(argument) for name, argument in arguments.items()}
        return _group({"class_path": value["class_path"], "init_args": _group(inner)})
    return value


def _group(values: Mapping[str, Any]) -> Namespace:
    return Namespace(**values)  # type: ignore[no-untyped-call]


def _check_options_of_data(look: Look, parser: ArgumentParser, data: choices.Source) -> None:
    names = vars(parser.get_defaults().get("data", _group({})))
    for option in look.given:
        root, dotted, name = option.rstrip("+").partition(".")
        if root == "data" and dotted and name.partition(".")[0] not in names:
            others = [other for other in names if other not in data.arguments]
            instead = did_you_mean(name, names) or f"; it has {', '.join(others) or 'none'}"
            if name == "standardize":
                instead = "; leave it out, the VAE that ppvae makes scales the data itself"
            raise ArgumentError(None, f"--data: {data.path} has no option {name!r}{instead}")


def _parser(command: str, data: choices.Source | None, own_pair: bool) -> ArgumentParser:
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
    parser: ArgumentParser, parsed: Namespace, data: choices.Source, pair: Namespace | None
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
    if pair is None:
        return {"data": chosen, **options}
    own = yaml.safe_load(parser.dump(_group({"pair": pair}), skip_validation=True))
    return {"data": chosen, **own, **options}
