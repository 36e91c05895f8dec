"""The command line: `ppvae fit`, `ppvae diagnose` and `ppvae sample`."""

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace
from torch import nn

from ppvae import diagnostics, inference, pairs
from ppvae.cli import errors, parts
from ppvae.cli.options import parsers
from ppvae.data import Dataset
from ppvae.engine import seeded
from ppvae.report import Run

_INTERRUPTED = 130  # as shells have it
_LEVELS = {
    "quick": diagnostics.QUICK,
    "standard": diagnostics.STANDARD,
    "deep": diagnostics.DEEP,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0; 1 if training diverged; 2 on bad input; 130 if interrupted before there was a result.
    """
    # A pair of the user's own is found in the folder where the command is called.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    words = ["--n" if word == "-n" else word for word in arguments or sys.argv[1:]]
    if arguments is not None and not arguments:
        words = []
    try:
        words, about_pair = parts.extract(words, "pair")
        words, about_data = parts.extract(words, "data")
        words = _resumed(words)
        if about_data and about_data[0].startswith("--data.help"):
            parts.describe_dataset(about_data[-1].partition("=")[2] or about_data[-1])
            return 0
        _check_configs(words)
        parser, commands = parsers()
        options = parser.parse_args(words)
        name = options.subcommand
        command = {"fit": _fit, "diagnose": _diagnose, "sample": _sample}[name]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="not compiled")  # it is printed anyway
            return command(commands[name], options[name], about_data, about_pair)
    except ArgumentError as error:
        return errors.complain(errors.of_parser(str(error)))
    except OSError as error:
        return errors.complain(errors.of_os(error))
    except (ValueError, TypeError, ImportError) as error:
        return errors.complain(str(error))
    except KeyboardInterrupt:
        return errors.complain("interrupted", code=_INTERRUPTED)
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        return errors.complain(f"{type(error).__name__}: {first}", code=1)


def _resumed(words: list[str]) -> list[str]:
    """Let the configuration of the run that is resumed come before all other words."""
    rest, resume = parts.extract(words, "resume")
    if not resume:
        return words
    folder = Path(parts.values(resume, "resume")[-1])
    config = Run(folder).config
    if not config.exists():
        raise FileNotFoundError(f"{folder} holds no {config.name} to resume from")
    return [*rest[:1], "--config", str(config), f"--resume={folder}", *rest[1:]]


def _check_configs(words: list[str]) -> None:
    """Look at what configuration files name before anything they name is imported."""
    trust = [name for text in parts.values(words, "trust") for name in _listed(text)]
    for path in map(Path, parts.values(words, "config")):
        if path.exists():  # else the parser says so
            parts.distrust(_yaml(path), trust, path)


def _listed(text: str) -> list[str]:
    value = yaml.safe_load(text)
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _fit(
    parser: ArgumentParser, options: Namespace, about_data: list[str], about_pair: list[str]
) -> int:
    options.pop("config", None)
    if not isinstance(options.compile, bool | str):  # as configurations were written before
        options.compile, options.compile_from = True, options.compile
    if options.compile is False:  # given over a configuration that names a step
        options.compile_from = None
    dataset, options.data = parts.dataset(options.data, about_data)
    if options.draws < 1:
        raise ValueError(f"draws must be at least 1, got {options.draws}")
    with seeded(options.seed):
        own = parts.pair(options.pair, about_pair, dataset)
        chosen = parser.instantiate(options)
        if own is not None:
            pair, options.pair = own
        else:
            pair = pairs.assemble(
                dataset,
                latent=chosen.latent,
                network=chosen.network,
                prior=chosen.prior,
                pseudo_inputs=chosen.pseudo_inputs,
                likelihood=chosen.likelihood,
                posterior=chosen.posterior,
            )
    stopping = [] if chosen.patience is None else [inference.EarlyStopping(chosen.patience)]
    if not chosen.checkpoint_seconds >= 0:
        raise ValueError(f"checkpoint_seconds must be at least 0, got {chosen.checkpoint_seconds}")
    run = Run(Path(chosen.resume)) if chosen.resume else None
    if run is None:
        run = Run.create(dataset.name, chosen.folder, chosen.overwrite)
    checkpoints = inference.Checkpoints(run.folder, chosen.checkpoint_seconds)
    code = 0
    try:
        if chosen.resume:
            dataset = run.standardized(dataset)
        else:
            run.write_standardization(dataset)
            run.write_config(_repeatable(parser, options))
        result = inference.fit(
            pair,
            dataset,
            epochs=chosen.epochs,
            steps=chosen.steps,
            batch_size=chosen.batch_size,
            objective=chosen.objective,
            optimizer=chosen.optimizer,
            schedule=chosen.schedule,
            kl_weight=chosen.kl_weight,
            clip_norm=chosen.clip_norm,
            compile=chosen.compile,
            compile_from=chosen.compile_from,
            callbacks=[run.record, *stopping],
            checkpoint=checkpoints,
            resume=checkpoints if chosen.resume and checkpoints.exists else None,
            seed=chosen.seed,
            device=chosen.device,
        )
    except inference.Diverged as error:
        result, code = error.fit, errors.complain(str(error), code=1)
    except OSError as error:
        if not checkpoints.exists:
            if not chosen.resume:
                run.discard_if_unused()
            raise
        raise OSError(
            f"{errors.of_os(error)}; the last checkpoint is kept, go on with "
            f"`ppvae fit --resume {run.folder}`"
        ) from error
    except BaseException:
        if not chosen.resume:
            run.discard_if_unused()
        raise
    run.save(pair, result)
    options.compile = chosen.compile if result.compiled_from is not None else False
    options.compile_from = result.compiled_from
    run.write_config(_repeatable(parser, options))
    passes = f", {int(result.history.epoch[-1])} epochs" if result.history.sizes["step"] else ""
    print(f"{result.reason} after {result.steps} steps{passes}; {result.compilation}")
    measured = _measure(
        run, pair, dataset, "test", chosen.draws, chosen.seed, chosen.compile is not False
    )
    return code or measured


def _diagnose(
    parser: ArgumentParser, options: Namespace, about_data: list[str], about_pair: list[str]
) -> int:
    run, dataset, pair = _read(options, about_data, about_pair)
    effort = None if options.level is None else _LEVELS[options.level]
    return _measure(run, pair, dataset, options.split, options.draws, options.seed, True, effort)


def _sample(
    parser: ArgumentParser, options: Namespace, about_data: list[str], about_pair: list[str]
) -> int:
    run, dataset, pair = _read(options, about_data, about_pair)
    for path in run.sample(pair, dataset, options.n, options.seed):
        print(path)
    return 0


def _measure(
    run: Run,
    pair: nn.Module,
    dataset: Dataset,
    split: str,
    draws: int,
    seed: int,
    compile: bool = True,
    effort: diagnostics.Effort | None = None,
) -> int:
    try:
        print(run.diagnose(pair, dataset, split, draws, seed, compile))
        if effort is not None:
            print(run.examine(pair, dataset, split, effort, seed))
    except KeyboardInterrupt:
        return errors.complain("interrupted while measuring; the pair is kept", _INTERRUPTED)
    finally:
        print(run.folder)  # whatever becomes of the measurement, the trained pair is there
    return 0


def _read(
    options: Namespace, about_data: list[str], about_pair: list[str]
) -> tuple[Run, Dataset, nn.Module]:
    """Return a run with its dataset and its pair, naming no class that nobody vouched for."""
    run = Run(Path(options.run))
    config = _yaml(run.config)
    if not isinstance(config, dict) or not isinstance(config.get("data"), dict | str):
        raise ValueError(f"{run.config} is damaged: it names no dataset under `data`")
    parts.distrust(config["data"], options.trust, run.config, "data")
    dataset = run.standardized(parts.dataset(config["data"], about_data)[0])
    own = parts.pair(None, about_pair, dataset)
    pair = inference.load(run.folder, pair=own[0] if own else None, trust=options.trust)
    return run, dataset, pair


def _yaml(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())}") from error


def _repeatable(parser: ArgumentParser, options: Namespace) -> str:
    kept = options.clone()
    for name in ("folder", "overwrite", "resume", "trust", "checkpoint_seconds"):
        kept.pop(name, None)
    return str(parser.dump(kept, skip_validation=True))
