"""`fit`: trains a pair on data."""

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from pyro.infer import ELBO
from pyro.optim import PyroOptim
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from ppvae.data import Dataset
from ppvae.engine import (
    Data,
    Pair,
    Processes,
    Reading,
    first_line,
    is_map_style,
    modules_of,
    noted,
    seeded,
)
from ppvae.engine.compilation import generate, import_compiler
from ppvae.inference.default_training import recipe_for
from ppvae.inference.learning_rate import LearningRate, Schedule, check_warmup
from ppvae.inference.loop import Loop
from ppvae.inference.persistence import Checkpoints
from ppvae.inference.row_scale import row_scale_of
from ppvae.inference.state import Callback, Fit, Training
from ppvae.inference.steps import (
    Choice,
    CompiledSteps,
    Constructor,
    JointOptim,
    Minibatch,
    Steps,
    announced_programs,
    held_out_of,
    in_memory,
    minibatches_of,
    monitored,
    objective_for,
)


def fit(
    pair: Pair,
    data: Data | Iterable[Any],
    *,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    batch: Callable[[Any], Any] | None = None,
    validation: Data | Iterable[Any] | None = None,
    objective: ELBO | None = None,
    optimizer: Constructor | PyroOptim | None = None,
    schedule: Schedule | None = None,
    kl_weight: float | Callable[[int], float] = 1.0,
    clip_norm: float | None = None,
    accumulate: int = 1,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | Path | Checkpoints | None = None,
    resume: str | Path | Checkpoints | None = None,
    compile: Choice = "auto",
    compile_from: int | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: bool | None = None,
) -> Fit:
    """Train a pair by stochastic variational inference, with `pyro.infer.SVI`.

    Maximizes the right side of formula (2), E_Q[log P(X|z)] - KL[Q(z|X) || P(z)], over minibatches
    (Hoffman et al., "Stochastic Variational Inference", 2013; Kingma and Welling, "Auto-Encoding
    Variational Bayes", 2014).

    The pair is trained in place, in training mode, and is in evaluation mode afterwards, however
    training ends. A module in evaluation mode stays in it if the pair as a whole is in training
    mode: call `pair.train()` and freeze it anew before a second call. The same seed gives the same
    result bit for bit on the same machine with the same number of threads, if `compile` is False
    or `compile_from` is given. The caller's random state does not change.

    Ctrl-C ends training after the step under way, writes a checkpoint and keeps the weights.
    SIGTERM and SIGHUP do so too, then end the program (`Terminated`, a `SystemExit`), unless it
    handles these signals itself. A second signal ends at once.

    Several processes that `torchrun` has started, or those of the default process group of
    `torch.distributed`, train the pair together: each takes its share of a minibatch's rows, their
    gradients add up, and all of them have the same weights. Everything but the random draws is
    then as in one process. Files are written by the first one.

    A latent outside the plate over rows is shared by all of them and has one prior. The terms of
    a minibatch's rows are then multiplied by the number of all rows over that of its own, unless
    the model does so, by `pyro.plate("data", N, subsample_size=len(x))`.

    An exception of the model, the guide, a callback, the data source or the schedule ends training
    as it is; a note (`__notes__`) says at which step and on which data. The weights are then the
    present ones or, where these are not finite, the last finite ones.

    Args:
        pair: an object with `model(*batch)` and `guide(*batch)` in plain Pyro.
        data: a tensor or array `(data, *event)`, a tuple of such, a dataset (its training split
            is fitted, its validation split validates), an iterable of batches such as a
            `DataLoader`, or a map-style dataset of rows, with `__len__` and `__getitem__`.
            Datapoints and all floating values are cast to the pair's dtype. Labels beside the
            datapoints of a loader or dataset are left aside where the pair takes one tensor; this
            is logged.
        epochs: number of passes over the data. If neither these nor `steps` are given, there are
            100, and without a schedule as many more as the ELBO (that of the validation data, if
            there are any) still rises by what `Fit.converged` says, up to 10,000 steps.
        steps: number of optimizer steps, instead of epochs.
        batch_size: rows of a minibatch; 128, or all rows if there are fewer. Several processes
            share them.
        batch: called with each batch of a loader or dataset, as torch's `DataLoader` makes it;
            returns what the pair is called with: a tensor, a tuple of arguments, or a dict of them
            by name, such as `lambda item: item["image"]`.
        validation: held-out data; a `DataLoader` or map-style dataset, whose batches go through
            `batch` too, is read into tensors once. They are evaluated together with training
            data: after each epoch, after several if they have fewer than 10 steps, and at the end.
        objective: any `pyro.infer.ELBO`; `Trace_ELBO()` unless given. Where a program asks for the
            enumeration of a site, `StickingTheLandingEnum_ELBO()` if the guide has all such sites
            and draws the others by reparameterization, else `TraceEnum_ELBO()`.
        optimizer: called with the parameters, returns a torch optimizer; or a `PyroOptim`. Adam
            with learning rate 1e-3 unless given. For a dataset, if neither `epochs`, `steps`,
            `optimizer` nor `schedule` is given: Adam with learning rate 3e-3 and a `CosineDecay`
            over 100 epochs, stopped by `EarlyStopping(50)`, which keeps the best weights.
        schedule: called with the torch optimizer, returns a torch learning-rate schedule, stepped
            once an epoch (`ReduceLROnPlateau`: once an evaluation, with the validation loss). It
            is stepped at every step if it is an `EachStep`, or if its length, such as `T_max`, is
            the number of steps; a length that fits neither steps nor epochs gets a warning.
        kl_weight: weight of the latent sites in the objective, a number or a function of the step
            such as `LinearWarmup`; validation always has weight 1. A warm-up longer than the
            training gets a warning.
        clip_norm: bound on the norm of the gradient of a minibatch's summed loss.
        accumulate: in how many parts the rows of a minibatch are taken, one after the other, for
            less memory; their gradients add up to that of the minibatch.
        callbacks: called with the `Training` after every evaluation, and once more when it has
            ended; one that returns True stops it, any other value does not. Of ours:
            `Converged`, `EarlyStopping`, `TensorBoard`.
        checkpoint: the folder of the training's state, written every 30 seconds and at the end;
            `Checkpoints(folder, seconds, steps=..., keep=...)` sets other intervals, and keeps
            more than the last one. A folder into which another process trains is refused.
        resume: the folder of a state to continue from. With the same arguments the result equals,
            bit for bit, that of a training that was never stopped. `epochs` or `steps` may be
            larger than before, and other `objective`, `kl_weight`, `clip_norm`, `validation` and
            options of the optimizer, such as its learning rate, hold from there on: its moments
            and numbers of steps are kept. Other data, batches, seed, kind of optimizer or
            schedule are refused. Further checkpoints are written to the same folder.
        compile: whether a whole step (minibatch, loss, gradients, update) runs as one compiled
            graph. The graph is compared with Pyro's own step before it is used; a pair or an
            optimizer that cannot be captured is trained uncompiled. "auto" compiles, in the
            background, where some time of training is left; True compiles in any case, and warns
            where it cannot; False never compiles. Both ways draw the same random numbers and
            change the same tensors.
        compile_from: the step, counted from 0, from which on steps are compiled; training waits
            for the code there. Unless given, they are from the step at which the code is ready,
            which is `compiled_from` of what is returned: pass it to repeat a training exactly.
        seed: of every random number drawn here.
        device: where to move pair and data; unless given, data move to the pair's device.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        The trained pair and its history.

    Raises:
        ValueError: if data, a size or an option cannot be used; the message says why.
        Unsupported: if the pair cannot be trained so, as where guide and model do not match.
        TypeError: if the data are neither arrays nor batches, or `compile` is a number.
        FileNotFoundError: if there is nothing to resume from.
        OSError: if a checkpoint cannot be written, or another process trains into its folder.
        Diverged: on a NaN or infinite loss or gradient, with step, site and likely cause.
        Terminated: after SIGTERM or SIGHUP, when the state is saved.
        Exception: what a program, a callback or the data source raises, with a note.

    Example:
        >>> import ppvae
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> result = ppvae.fit(pairs.assemble(digits, latent=2), digits, epochs=2)
        >>> result.steps, result.history.sizes["step"]
        (24, 2)
    """
    if isinstance(pair, DistributedDataParallel):
        pair = pair.module  # its model and guide; gradients add up here
    import_compiler()
    length_given = epochs is not None or steps is not None
    optimizer, schedule, callbacks = recipe_for(data, optimizer, schedule, callbacks, length_given)
    open_ended = not length_given and schedule is None
    source, checkpoints = _source_and_target(resume, checkpoint)
    epochs, steps = _length(epochs, steps)
    if accumulate < 1:
        raise ValueError(f"accumulate must be at least 1, got {accumulate}")
    if device is not None:
        _move(pair, device)
    _check_compile(compile, compile_from)
    reading = Reading(pair, batch)
    _check_batch(batch, data, validation)
    processes = Processes.present()
    batches = minibatches_of(data, pair, batch_size, reading, processes)
    if validation is None and isinstance(data, Dataset):
        validation = data
    held_out = None if validation is None else held_out_of(validation, pair, reading)
    with seeded(seed), warnings.catch_warnings():
        # A loss that is not finite stops training: Pyro's warning of it is not needed.
        warnings.filterwarnings("ignore", message="Encountered")
        with noted("while reading the first batch"):
            # All rows in one batch may have parameters each, which these must all meet.
            whole = batches.steps == 1 or batches.expected == 1
            example = batches.first(sys.maxsize if whole else 128)
        run, programs, parameters, sites = announced_programs(
            pair, batches.form, example, objective
        )
        if held_out is not None:
            announced_programs(
                pair,
                held_out.form,
                tuple(part[:128] for part in held_out.whole),
                objective,
                "validation: ",
            )
        model, guide = programs.model, programs.guide
        chosen = objective_for(*sites, objective)
        optim = _optim(optimizer, parameters, schedule, clip_norm)
        planned, passes, expected = steps, epochs, batches.expected
        if expected is not None:
            planned = steps if epochs is None else epochs * expected
            passes = steps // expected if epochs is None and steps is not None else epochs
        row_scale = None
        at_once = batches.steps == 1 or (batches.total is None and expected == 1)
        in_parts = processes.several or accumulate > 1
        if in_parts or not at_once or monitored(batches).rows < (batches.total or 0):
            row_scale = row_scale_of(run, example, sites, batches.total, batches.batch_size)
        del example, sites  # a training does not hold what it was checked on
        if row_scale is not None:
            model, guide = row_scale.scaled(model), row_scale.scaled(guide)
        eager = Steps(run, model, guide, chosen, optim, kl_weight, row_scale)
        if in_parts:
            first = Minibatch(batches.first(128), form=batches.form)
            eager.share(processes, parameters, first, accumulate)
        rate = LearningRate(schedule, getattr(optim, "optimizer", None), passes, planned)
        loop = Loop(
            training=Training(
                pair,
                parameters,
                check_warmup(kl_weight, planned),
                data if isinstance(data, Dataset) else None,
            ),
            steps=CompiledSteps(
                eager, compile, compile_from, parameters, planned, epochs, generate
            ),
            batches=batches,
            validation=held_out,
            rate=rate,
            callbacks=callbacks,
            checkpoints=checkpoints,
            seed=seed,
            processes=processes,
        )
        processes.copy_first(loop.training.tensors)
        if processes.several:
            processes.divide_draws(seed)
        lock: AbstractContextManager[object] = nullcontext()
        if checkpoints is not None and processes.first:
            lock = checkpoints.lock
        with lock:
            if source is not None:
                loop.state.restore(source)
            rate.check()
            with _training_mode(pair):
                return loop.run(epochs, steps, progress, open_ended=open_ended)


def _check_batch(batch: object, data: object, validation: object) -> None:
    if batch is None:
        return
    if not callable(batch):
        raise TypeError(
            f"batch must be a function of a loader's batch, got {type(batch).__name__}; the rows "
            "of a minibatch are batch_size"
        )
    loaded = isinstance(validation, DataLoader) or is_map_style(validation)
    if in_memory(data) and not loaded:
        raise ValueError(
            "batch is for a loader, a dataset of torch or an iterable of batches; data is "
            f"{type(data).__name__}: pass what the pair is called with"
        )


def _move(pair: Pair, device: str | torch.device) -> None:
    if not isinstance(pair, nn.Module):
        raise ValueError("device needs a pair that is an nn.Module; move the data yourself")
    try:
        pair.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {str(device)!r} cannot be used: {first_line(error)}") from error


def _optim(
    optimizer: Constructor | PyroOptim,
    parameters: Mapping[str, Tensor],
    schedule: Schedule | None,
    clip_norm: float | None,
) -> PyroOptim:
    if not isinstance(optimizer, PyroOptim):
        return JointOptim(optimizer, parameters, clip_norm=clip_norm)
    if schedule is not None or clip_norm is not None:
        raise ValueError(
            "schedule and clip_norm need a torch optimizer: pass a constructor such as "
            "torch.optim.Adam as optimizer, not a PyroOptim"
        )
    return optimizer


@contextmanager
def _training_mode(pair: object) -> Iterator[None]:
    """Train a pair inside the block, where it is in evaluation mode as a whole; evaluate after it.

    The answers of a trained pair must not change from call to call, by dropout, nor change the
    pair, by the running statistics of its normalization.
    """
    modules = modules_of(pair)
    whole = [pair] if isinstance(pair, nn.Module) else modules
    if not any(module.training for module in whole):
        for module in modules:
            module.training = True
    try:
        yield
    finally:
        for module in modules_of(pair):  # training may have made some
            module.training = False


def _check_compile(compile: object, compile_from: int | None) -> None:
    if isinstance(compile, int) and not isinstance(compile, bool):
        raise TypeError(
            f"compile must be True, False or 'auto', got {compile}; to compile from that step on, "
            f"pass compile_from={compile}"
        )
    if not isinstance(compile, bool) and compile != "auto":
        raise ValueError(f"compile must be True, False or 'auto', got {compile!r}")
    if compile_from is not None and compile_from < 0:
        raise ValueError(f"compile_from must be at least 0, got {compile_from}")
    if compile_from is not None and compile is False:
        raise ValueError(f"compile=False contradicts compile_from={compile_from}")


def _source_and_target(
    resume: str | Path | Checkpoints | None, checkpoint: str | Path | Checkpoints | None
) -> tuple[Checkpoints | None, Checkpoints | None]:
    """Return the checkpoints to resume from and those to write: the same ones in one folder."""
    source, target = (
        Checkpoints(place) if isinstance(place, str | Path) else place
        for place in (resume, checkpoint)
    )
    if source is None or target is None:
        return source, source if target is None else target
    same = source.folder.resolve() == target.folder.resolve()
    return target if same else source, target


def _length(epochs: int | None, steps: int | None) -> tuple[int | None, int | None]:
    if epochs is not None and steps is not None:
        raise ValueError(f"pass epochs or steps, not both; got {epochs} and {steps}")
    for name, value in (("epochs", epochs), ("steps", steps)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    return (100, None) if epochs is None and steps is None else (epochs, steps)
