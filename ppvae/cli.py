"""The command line: `ppvae fit` and `ppvae diagnose`."""

import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jsonargparse import ArgumentError, ArgumentParser, Namespace
from pyro.infer import ELBO
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

import ppvae
from ppvae import data, inference, pairs
from ppvae.isolation import seeded
from ppvae.likelihoods import Likelihood
from ppvae.networks import MLP
from ppvae.posteriors import DiagonalNormal, Posterior
from ppvae.priors import Prior, StandardNormal
from ppvae.runs import Run

DatasetName = Literal["digits"]
Split = Literal["train", "validation", "test"]


def fit(
    data: DatasetName,
    *,
    pair: nn.Module | None = None,
    latent: int = 10,
    network: Callable[[int, int], nn.Module] = MLP,
    prior: Callable[[int], Prior] = StandardNormal,
    likelihood: Callable[[nn.Module], Likelihood] | None = None,
    posterior: Callable[[nn.Module], Posterior] = DiagonalNormal,
    objective: ELBO | None = None,
    optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer] = torch.optim.Adam,
    schedule: Callable[[torch.optim.Optimizer], LRScheduler] | None = None,
    kl_weight: float | Callable[[int], float] = 1.0,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    clip_norm: float | None = None,
    patience: int | None = None,
    draws: int = 1000,
    seed: int = 0,
    device: str | None = None,
    folder: Path | None = None,
    overwrite: bool = False,
) -> int:
    """Train a pair on a dataset and measure its posterior on held-out data.

    Writes the run's folder: config.yaml (repeats the run: `ppvae fit --config`), metrics.jsonl,
    pair.json and pair.safetensors (the trained pair), evidence and figures.

    Args:
        data: the dataset.
        pair: a pair of your own by import path, such as mymodule.MyPair, complete in itself; its
            argument `features`, if it has one, is filled from the data. Without it a VAE is built
            from the options below.
        latent: number of latent dimensions.
        network: class of the networks, called with the sizes of input and output.
        prior: class of p(z).
        likelihood: class of p(x|z); the data's support decides unless given.
        posterior: class of q(z|x).
        objective: what to maximise, any pyro.infer.ELBO; Trace_ELBO unless given.
        optimizer: class of the torch optimizer; Adam with lr 0.001 unless given.
        schedule: class of a torch learning-rate schedule, stepped once an epoch.
        kl_weight: weight of the KL term: a number, or the class of a schedule such as
            ppvae.inference.LinearWarmup.
        epochs: passes over the training data; 100 unless steps are given.
        steps: optimizer steps, instead of epochs.
        batch_size: rows of a minibatch; 128 unless given.
        clip_norm: bound on the gradient's norm.
        patience: stop after so many epochs without a better validation ELBO, keep the best.
        draws: draws per datapoint for the measurement after training.
        seed: of every random number, the first weights included.
        device: cpu or cuda.
        folder: the run's folder; runs/DATA-N with a new number unless given.
        overwrite: whether an existing folder may be used.
    """
    raise NotImplementedError  # read by the parser; `_fit` does the work


def diagnose(
    run: Path,
    *,
    split: Split = "test",
    draws: int = 1000,
    seed: int = 0,
    pair: nn.Module | None = None,
    trust: list[str] = [],  # noqa: B006
) -> int:
    """Measure the posterior of a run: every term of formula (2), with standard errors.

    Prints a table, and writes it and the figures into the run's folder.

    Args:
        run: the run's folder.
        split: the data to measure on.
        draws: draws per datapoint.
        seed: of the draws.
        pair: your own pair by import path, if its run could not keep its structure.
        trust: modules whose classes may be built, beside those of ppvae and torch.nn.
    """
    raise NotImplementedError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, 1 if training diverged, 2 on bad input."""
    # A pair of the user's own is found in the folder where the command is called.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser, commands = _parsers()
    try:
        options = parser.parse_args(_with_features(words))
        command = {"fit": _fit, "diagnose": _diagnose}[options.subcommand]
        return command(commands[options.subcommand], options[options.subcommand])
    except ArgumentError as error:
        return _complain(_sentence(str(error)))
    except OSError as error:
        named = error.strerror and error.filename is not None
        return _complain(f"{error.filename}: {error.strerror}" if named else str(error))
    except (ValueError, TypeError) as error:
        return _complain(" ".join(str(error).split()))
    except KeyboardInterrupt:
        return _complain("interrupted")
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        return _complain(f"{type(error).__name__}: {first}", code=1)


def _parsers() -> tuple[ArgumentParser, dict[str, ArgumentParser]]:
    parser = ArgumentParser(
        prog="ppvae",
        description="Variational autoencoders as probabilistic programs in Pyro.",
        version=ppvae.__version__,
        exit_on_error=False,
        allow_abbrev=False,
    )
    subcommands = parser.add_subcommands(title="commands")
    commands = {}
    for function in (fit, diagnose):
        command = ArgumentParser(
            exit_on_error=False, allow_abbrev=False, description=_summary(function)
        )
        command.add_function_arguments(function, as_positional=True, as_group=False)
        commands[function.__name__] = command
    commands["fit"].add_argument(
        "--config", action="config", help="a YAML file of options, such as a run's config.yaml"
    )
    commands["fit"].set_defaults(
        {"optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 1e-3}}}
    )
    for name, function in (("fit", fit), ("diagnose", diagnose)):
        subcommands.add_subcommand(name, commands[name], help=_summary(function))
    return parser, commands


def _summary(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or "").splitlines()[0]


def _fit(parser: ArgumentParser, options: Namespace) -> int:
    dataset = getattr(data, options.data)()
    with seeded(options.seed):
        chosen = parser.instantiate(options)
        pair = chosen.pair or pairs.assemble(
            dataset,
            latent=chosen.latent,
            network=chosen.network,
            prior=chosen.prior,
            likelihood=chosen.likelihood,
            posterior=chosen.posterior,
        )
    if chosen.draws < 1:
        raise ValueError(f"draws must be at least 1, got {chosen.draws}")
    stopping = [] if chosen.patience is None else [inference.EarlyStopping(chosen.patience)]
    run = Run.create(chosen.data, chosen.folder, chosen.overwrite)
    repeatable = options.clone()
    for name in ("config", "folder", "overwrite"):
        repeatable.pop(name, None)
    run.write_config(parser.dump(repeatable, skip_validation=True))
    code = 0
    try:
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
            callbacks=[run.record, *stopping],
            seed=chosen.seed,
            device=chosen.device,
        )
    except inference.Diverged as error:
        result, code = error.fit, _complain(str(error), code=1)
    except Exception:
        run.discard_if_unused()
        raise
    run.save(pair, result)
    epochs = result.history.sizes.get("step", 0)
    print(f"{result.reason} after {result.steps} steps, {epochs} epochs")
    print(run.diagnose(pair, dataset, "test", chosen.draws, chosen.seed))
    print(run.folder)
    return code


def _diagnose(parser: ArgumentParser, options: Namespace) -> int:
    run = Run(Path(options.run))
    name = run.dataset()
    if name not in get_args(DatasetName):
        raise ValueError(
            f"{run.folder} was trained on {name!r}; known datasets are "
            f"{', '.join(get_args(DatasetName))}"
        )
    own = parser.instantiate(options).pair
    pair = inference.load(run.folder, pair=own, trust=options.trust)
    print(run.diagnose(pair, getattr(data, name)(), options.split, options.draws, options.seed))
    print(run.folder)
    return 0


def _with_features(words: list[str]) -> list[str]:
    """Fill `--pair.features` from the data, if the pair's class takes it and no word sets it."""
    text = " ".join(words)
    named = re.search(r"--pair[= ](\S+)", text)
    dataset = next((word for word in words if word in get_args(DatasetName)), None)
    if not named or dataset is None or "--pair.features" in text or "." not in named[1]:
        return words
    module, _, name = named[1].rpartition(".")
    try:
        parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    except (ImportError, AttributeError, TypeError, ValueError):
        return words  # the parser says what is wrong with the name
    if "features" not in parameters:
        return words
    features = getattr(data, dataset)().event_shape.numel()
    return [*words, f"--pair.features={features}"]


def _sentence(message: str) -> str:
    """Make one sentence of jsonargparse's paragraphs: the option and what is wrong with it."""
    keys = ".".join(dict.fromkeys(re.findall(r'Parser key "([^"]+)"', message)))
    given = re.search(r"(?:Given|Got) value: ([^\n]*?)\.?(?: Got value:.*)?$", message, re.M)
    lines = [line.strip(" -") for line in message.splitlines()]
    skipped = ("Does not validate", "Subtypes:", "Errors:", "Given value", 'in "<unicode string>')
    telling = [
        line
        for line in lines
        if line and "NoneType" not in line and not line.startswith(skipped) and line[-1] != ":"
    ] or lines
    # Of the types that an option may have, the one that was begun tells more than the others.
    what = min(telling, key=lambda line: line.startswith(("Expected a <", "Expected a dot")))
    for pattern, plain in (
        (r'^Parser key "[^"]+": ', ""),
        (r"<class '([^']+)'>", r"\1"),
        (r"^Type .* expects a function or a callable class: ", ""),
        (r"\.? Got value: .*$", ""),
        (r"arguments are required: (fit|diagnose)\.", "arguments are required: "),
        (r"^Expected an? typing\.Literal\[(.*)\]", r"expected one of \1"),
        (r"^Expected a dot import path string: (.*)", r"no class named \1 fits here"),
        (r"^Expected an? (\w+)$", r"expected a value of type \1"),
    ):
        what = re.sub(pattern, plain, what)
    got = given[1] if given and "Namespace(" not in given[1] else ""
    got = f", got {got}" if got and not re.search(rf"(?<!\w){re.escape(got)}(?!\w)", what) else ""
    return f"{f'--{keys}: ' if keys else ''}{' '.join(what.split())}{got}"


def _complain(message: str, code: int = 2) -> int:
    print(f"ppvae: error: {message}", file=sys.stderr)
    return code
