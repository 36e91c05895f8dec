"""What each command takes: functions whose signatures and docstrings are the command line."""

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse import ArgumentParser
from pyro.infer import ELBO
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

import ppvae
from ppvae.likelihoods import Likelihood
from ppvae.networks import ResidualMLP
from ppvae.posteriors import DiagonalNormal, Posterior
from ppvae.priors import Prior

Split = Literal["train", "validation", "test"]
Level = Literal["quick", "standard", "deep"]


def fit(
    data: str | dict[str, Any],
    *,
    pair: str | dict[str, Any] | None = None,
    latent: int = 10,
    network: Callable[[int, int], nn.Module] = ResidualMLP,
    prior: Callable[[int], Prior] | None = None,
    pseudo_inputs: int | None = None,
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
    compile: bool | int | Literal["auto"] = "auto",
    compile_from: int | None = None,
    draws: int = 1000,
    seed: int = 0,
    device: str | None = None,
    folder: Path | None = None,
    overwrite: bool = False,
    resume: Path | None = None,
    checkpoint_seconds: float = 30.0,
    trust: list[str] = [],  # noqa: B006
) -> int:
    """Train a pair on a dataset and measure its posterior on held-out data.

    Writes the run's folder: config.yaml (repeats the run: `ppvae fit --config`), metrics.jsonl,
    pair.json and pair.safetensors (the trained pair), a checkpoint (goes on: `ppvae fit
    --resume`), evidence and figures.

    Args:
        data: digits, mnist, segments, colors or factors; a file .npy, .npz or .csv; or the import
            path of a function that returns a dataset. Its options follow as --data.OPTION, such
            as --data.seed 1; --data.help NAME lists them.
        pair: a pair of your own by import path, such as mymodule.MyPair, complete in itself, its
            options as --pair.OPTION; its argument `features`, if it has one, is filled from the
            data. Without it a VAE is built from the options below.
        latent: number of latent dimensions.
        network: class of the networks, called with the sizes of input and output.
        prior: class of p(z); StandardNormal unless given.
        pseudo_inputs: instead, a VampPrior of so many pseudo-inputs, started at training data.
        likelihood: class of p(x|z); the data's support decides unless given.
        posterior: class of q(z|x).
        objective: what to maximize, any pyro.infer.ELBO; Trace_ELBO unless given.
        optimizer: class of the torch optimizer; Adam with lr 0.001 unless given.
        schedule: class of a torch learning-rate schedule, stepped once an epoch.
        kl_weight: weight of the KL term: a number, or the class of a schedule such as
            ppvae.inference.LinearWarmup.
        epochs: passes over the training data; 100 unless steps are given.
        steps: optimizer steps, instead of epochs.
        batch_size: rows of a minibatch; 128 unless given.
        clip_norm: bound on the gradient's norm.
        patience: stop after so many evaluations without a better validation ELBO, keep the best.
        compile: whether training runs as compiled code: true, false, or "auto" where it saves
            time. False also measures without.
        compile_from: the step from which on it does, which repeats a training exactly; the run's
            configuration keeps it.
        draws: draws per datapoint for the measurement after training.
        seed: of every random number of pair and training, the first weights included.
        device: cpu or cuda.
        folder: the run's folder; runs/DATA-N with a new number unless given.
        overwrite: whether the folder of another run may be replaced.
        resume: the folder of a run to go on with, its options and checkpoint included; more epochs
            or steps may be asked for.
        checkpoint_seconds: time between checkpoints at least.
        trust: modules whose classes a configuration file may name, beside those of ppvae, torch
            and Pyro.
    """
    raise NotImplementedError  # read by the parser


def diagnose(
    run: Path,
    *,
    split: Split = "test",
    level: Level | None = None,
    draws: int = 1000,
    seed: int = 0,
    pair: str | None = None,
    trust: list[str] = [],  # noqa: B006
) -> int:
    """Measure the posterior of a run: every term of formula (2), with standard errors.

    Prints a table, and writes it and the figures into the run's folder. With a level, also every
    diagnostic that applies, each with a verdict, and `diagnosis-SPLIT.nc`, which ArviZ reads.

    Args:
        run: the run's folder.
        split: the data to measure on.
        level: how closely to look: seconds, a minute, or as long as it takes.
        draws: draws per datapoint of the table.
        seed: of the draws.
        pair: your own pair by import path, if its run could not keep its structure.
        trust: modules whose classes may be built, beside those of ppvae and torch.nn.
    """
    raise NotImplementedError


def sample(
    run: Path,
    *,
    n: int = 100,
    seed: int = 0,
    pair: str | None = None,
    trust: list[str] = [],  # noqa: B006
) -> int:
    """Draw datapoints from the model of a run: samples.npy and, for images, a figure.

    Args:
        run: the run's folder.
        n: number of datapoints, also -n.
        seed: of the draws.
        pair: your own pair by import path, if its run could not keep its structure.
        trust: modules whose classes may be built, beside those of ppvae and torch.nn.
    """
    raise NotImplementedError


def parsers() -> tuple[ArgumentParser, dict[str, ArgumentParser]]:
    """Return the parser of the program, and those of its commands by name."""
    parser = ArgumentParser(
        prog="ppvae",
        description="Variational autoencoders as probabilistic programs in Pyro.",
        version=ppvae.__version__,
        exit_on_error=False,
        allow_abbrev=False,
    )
    subcommands = parser.add_subcommands(title="commands")
    commands = {}
    for function in (fit, diagnose, sample):
        summary = (inspect.getdoc(function) or "").splitlines()[0]
        command = ArgumentParser(exit_on_error=False, allow_abbrev=False, description=summary)
        command.add_function_arguments(function, as_positional=True, as_group=False)
        commands[function.__name__] = command
    commands["fit"].add_argument(
        "--config", action="config", help="a YAML file of options, such as a run's config.yaml"
    )
    commands["fit"].set_defaults(
        {"optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 1e-3}}}
    )
    for name, command in commands.items():
        subcommands.add_subcommand(name, command, help=command.description)
    return parser, commands
