"""How the training of a command ends: what is kept, and what is said.

Nothing heavy is imported with this module: the rooms of `ppvae` are imported when a command runs.
"""

import shlex
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import ppvae
from ppvae.cli import errors
from ppvae.cli.chosen import Chosen
from ppvae.cli.layout import wrapped

if TYPE_CHECKING:
    from torch import nn

    from ppvae.inference import Checkpoints, Fit
    from ppvae.reports import Run


def trained(
    train: "Callable[[], Fit]", run: "Run", checkpoints: "Checkpoints", chosen: Chosen, new: bool
) -> "tuple[Fit, int]":
    """Train; return what came of it and the exit code.

    A new run whose training ends with an error before anything is worth keeping is removed.
    """
    try:
        fit = train()
        return fit, errors.INTERRUPTED if fit.reason == "interrupted" else 0
    except ppvae.inference.Terminated as error:
        return error.fit, int(error.code or 0)
    except ppvae.inference.Diverged as error:
        optimizer = chosen.configuration.get("optimizer")
        rate = optimizer.get("init_args", {}).get("lr") if isinstance(optimizer, dict) else None
        lower = f"Lower --optimizer.lr ({rate})" if rate is not None else "Lower the learning rate"
        return error.fit, errors.complain(
            f"training diverged at step {error.fit.steps + 1}: {error.cause} {lower}, or bound "
            "the gradient with --clip_norm. The table below is of the last finite weights",
            code=1,
        )
    except BaseException as error:
        if isinstance(error, OSError) and checkpoints.exists:
            error.add_note(f"the last checkpoint is kept, go on with `{_resuming(run)}`")
        elif new:
            run.discard_if_unused()
        raise


def keep(
    run: "Run", pair: "nn.Module", result: "Fit", configuration: Mapping[str, Any], figures: bool
) -> None:
    """Write the pair and what repeats its training; print how the training ended."""
    run.save(pair)
    if figures and result.history.sizes.get("step"):
        marks = {"best weights": result.kept_step, "compiled": result.compiled_from}
        figure = ppvae.reports.plots.training_curves(result.history, marks)
        run.figure("training", ppvae.reports.plots.with_source(figure, run.name))
    kept = {name: value for name, value in configuration.items() if name != "compile_from"}
    if result.reason == "interrupted":
        run.write_config(configuration)  # it goes on as it was asked for
    elif result.compiled_from is None:
        run.write_config({**kept, "compile": False})
    else:
        run.write_config({**kept, "compile": True, "compile_from": result.compiled_from})
    print(wrapped(str(result)))


def stopped(run: "Run", checkpoints: "Checkpoints", code: int) -> int:
    """Print what is saved of a training that a signal has ended; return the exit code."""
    print(run.folder)
    step = checkpoints.step
    saved = "the pair is saved, and no checkpoint"
    if step is not None:
        saved = f"the pair and the checkpoint of step {step} are saved"
    return errors.complain(f"interrupted: {saved}; go on with `{_resuming(run)}`", code)


def _resuming(run: "Run") -> str:
    return f"ppvae fit --resume {shlex.quote(str(run.folder))}"
