"""The command that trains a pair.

Nothing heavy is imported with this module: the rooms of `ppvae` are imported when a command runs.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import ppvae
from ppvae.cli import ending, jointly, measuring, reporting
from ppvae.cli.chosen import Chosen
from ppvae.cli.opening import opening

if TYPE_CHECKING:
    import torch
    from pyro.infer import ELBO
    from torch import nn
    from torch.optim.lr_scheduler import LRScheduler

    from ppvae.data import Dataset
    from ppvae.inference import Checkpoints, Fit, Training
    from ppvae.likelihoods import Likelihood
    from ppvae.posteriors import Posterior
    from ppvae.priors import Prior
    from ppvae.reports import Run


def fit(
    chosen: Chosen,
    *,
    latent: int = 10,
    conditional: bool = False,
    known_labels: int | None = None,
    network: "Callable[[int, int], nn.Module] | None" = None,
    prior: "Callable[[int], Prior] | None" = None,
    pseudo_inputs: int | None = None,
    likelihood: "Callable[[nn.Module], Likelihood] | None" = None,
    posterior: "Callable[[nn.Module], Posterior] | None" = None,
    objective: "ELBO | None" = None,
    optimizer: "Callable[[Iterable[Any]], torch.optim.Optimizer] | None" = None,
    schedule: "Callable[[torch.optim.Optimizer], LRScheduler] | None" = None,
    kl_weight: "Callable[[int], float] | float" = 1.0,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    clip_norm: float | None = None,
    accumulate: int = 1,
    patience: int | None = 50,
    compile: bool | Literal["auto"] = "auto",
    compile_from: int | None = None,
    draws: int = 1000,
    refine_seconds: float = 20.0,
    figures: bool = True,
    report: bool = False,
    seed: int = 0,
    device: str | None = None,
    folder: Path | None = None,
    overwrite: bool = False,
    resume: Path | None = None,
    checkpoint_seconds: float | None = 30.0,
    checkpoint_steps: int | None = None,
    checkpoint_keep: int = 1,
    tensorboard: bool = False,
) -> int:
    """Train a VAE, or a pair of your own, and measure its posterior on held-out data.

    Writes the run's folder: config.yaml (repeats the run: `ppvae fit --config`), metrics.jsonl,
    pair.json and pair.safetensors (the trained pair), a checkpoint (goes on: `ppvae fit
    --resume`), evidence and figures. Ctrl-C, SIGTERM and SIGHUP end training after the step under
    way, with a checkpoint; a second one ends at once.

    Args:
        chosen: the data, and the pair if it is the user's own.
        latent: number of latent dimensions.
        conditional: whether the pair is given the class of each datapoint; it then models each
            class, and the data need labels. Samples of a class are best with --posterior
            FullRankNormal.
        known_labels: how many training rows a SemiSupervisedVAE is told the class of, of each
            class about as many; all unless given.
        network: ResidualMLP, MLP or your own class; ResidualMLP unless given. Encoder and
            decoder are built by calling it with the sizes of input and output.
        prior: class of p(z); StandardNormal unless given. Of ours: FlowPrior, Laplace,
            LearnedNormal, LogisticNormal, NormalMixture, StandardNormal, StudentT, UniformSphere.
        pseudo_inputs: number of pseudo-inputs of a VampPrior, which is then the prior; they start
            at training data.
        likelihood: p(x|z), such as Normal; what suits the data unless given. Of ours:
            Bernoulli, Beta, Binomial, Categorical, ContinuousBernoulli,
            DiscretizedLogisticMixture, GrayBernoulli, LogNormal, Multinomial, NegativeBinomial,
            Normal, Poisson, StudentT, ZeroInflatedNegativeBinomial.
        posterior: q(z|x), such as FullRankNormal; DiagonalNormal unless given. Of ours:
            DiagonalNormal, FlowPosterior, FullRankNormal, Laplace, LowRankNormal, NormalMixture,
            PowerSpherical.
        objective: class of what is maximized; Trace_ELBO unless given. It is any of
            pyro.infer.ELBO, or of ours: CombinedImportanceWeighted_ELBO, FreeBits_ELBO,
            ImportanceWeighted_ELBO, MaximumMeanDiscrepancy_ELBO, PartiallyImportanceWeighted_ELBO,
            StickingTheLandingEnum_ELBO, StickingTheLanding_ELBO, TotalCorrelation_ELBO,
            VariationalRenyi_ELBO.
        optimizer: class of the torch optimizer, such as AdamW; Adam with lr 0.003 unless given.
        schedule: class of a torch learning-rate schedule, such as OneCycleLR; CosineDecay, which
            falls to 0 over the training, unless given; null for a constant rate. It is stepped
            once an epoch, or at every step if its length is the number of steps.
        kl_weight: weight of the KL term; a number, or the class of a schedule, LinearWarmup or
            CyclicWarmup.
        epochs: passes over the training data; 100 unless steps are given; more of them as long as
            the validation ELBO rises, up to 10,000 steps, if there is no schedule.
        steps: optimizer steps, instead of epochs.
        batch_size: rows of a minibatch; 128 unless given.
        clip_norm: bound on the gradient's norm; none unless given.
        accumulate: in how many parts a minibatch is taken, for less memory.
        patience: stop after N evaluations without a gain; 50 unless given, null for never. The
            gain is in the ELBO of the validation data. The best weights are kept, without a
            number the last ones.
        compile: whether training runs as compiled code: true, false, or auto, which compiles if
            it saves time. False also measures uncompiled.
        compile_from: the step from which on training is compiled. It repeats a compiled training
            exactly; the run's configuration keeps it.
        draws: draws per datapoint for the measurement after training.
        refine_seconds: about how long posteriors of held-out rows are refined at the end, so that
            log P(X) can be trusted; of as many rows as that allows; 0 leaves it out, and so do
            fewer than 100 draws.
        figures: whether to write figures.
        report: whether to write report.html at the end, as `ppvae report` does.
        seed: of all random numbers; those of pair and training, the first weights included.
        device: cpu or cuda; cpu unless given.
        folder: the run's folder; runs/DATA-N with a new N unless given.
        overwrite: whether the folder of another run may be replaced.
        resume: folder of a run to go on with; its options and checkpoint are used, and more epochs
            or steps may be asked for.
        checkpoint_seconds: least time between two checkpoints; 30 unless given, null for none but
            those of checkpoint_steps.
        checkpoint_steps: also write a checkpoint after every N steps; not unless given.
        checkpoint_keep: how many checkpoints to keep; 1 unless given. If the newest is damaged, a
            training goes on from the one before.
        tensorboard: whether live curves and pictures are written to the run's folder;
            `tensorboard --logdir runs` shows those of all runs.

    Example:
        ppvae fit wine.csv --label quality --latent 5
    """
    for name, value, least in (
        ("draws", draws, 1),
        ("refine_seconds", refine_seconds, 0),
        ("checkpoint_seconds", checkpoint_seconds, 0),
        ("checkpoint_steps", checkpoint_steps, 1),
        ("checkpoint_keep", checkpoint_keep, 1),
    ):
        if value is not None and not value >= least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    if known_labels is not None and chosen.structure is None:
        raise ValueError("known_labels is for --pair SemiSupervisedVAE")
    parts = {
        "network": network,
        "prior": prior,
        "pseudo_inputs": pseudo_inputs,
        "likelihood": likelihood,
        "posterior": posterior,
    }
    processes = ppvae.engine.Processes.present()
    with contextlib.ExitStack() as held:

        def locked(place: Path) -> "Checkpoints":
            """Return the checkpoints of a run, which nobody else trains from here on."""
            checkpoints = ppvae.inference.Checkpoints(
                place, checkpoint_seconds, steps=checkpoint_steps, keep=checkpoint_keep
            )
            if processes.first:
                held.enter_context(checkpoints.lock)
            return checkpoints

        run = None
        if resume is not None:
            checkpoints = locked(resume)
            run = (
                ppvae.reports.Run.resume(resume) if processes.first else ppvae.reports.Run(resume)
            )
        dataset = chosen.dataset if run is None else run.standardized(chosen.dataset)
        dataset = dataset.conditional() if conditional else dataset
        pair, reason, structure = chosen.pair, "", chosen.structure
        if pair is None and run is not None and run.is_old:
            pair = ppvae.load(run.folder, trust=chosen.trust)  # a new one would scale its input
        elif structure is not None:
            pair = structure.built(dataset, {"latent": latent, **parts}, seed)
            reason = "" if likelihood else ppvae.pairs.explained(dataset)
            dataset = structure.batches(dataset)
        elif pair is None:
            pair = _assembled(dataset, latent, seed, parts)
            reason = "" if likelihood else ppvae.pairs.explained(dataset)
        elif dataset.standardization is not None:
            raise ValueError(
                "--data.standardize is built into the VAE that ppvae makes; a pair of your own "
                "gets the values as they are: scale them in its networks"
            )
        stopping = [] if patience is None else [ppvae.inference.EarlyStopping(patience)]
        new = run is None
        if run is None:
            run, again = jointly.run_of(
                processes,
                folder,
                lambda: ppvae.reports.Run.create(dataset.name, folder, overwrite),
            )
            new = not again
            checkpoints = locked(run.folder)
        if not new and not checkpoints.exists:
            print(f"{run.folder} was stopped before its first checkpoint: training starts anew")
        options: dict[str, Any] = {
            "epochs": epochs,
            "steps": steps,
            "batch_size": batch_size,
            "objective": objective,
            "schedule": schedule,
            "kl_weight": kl_weight,
            "clip_norm": clip_norm,
            "accumulate": accumulate,
            "compile": compile,
            "compile_from": compile_from,
            "checkpoint": checkpoints,
            "resume": None if new or not checkpoints.exists else checkpoints,
            "seed": seed,
            "device": device,
            **({} if optimizer is None else {"optimizer": optimizer}),
        }

        def train() -> "Fit":
            recorder = _recorder(run, tensorboard) if processes.first else _recorded_elsewhere
            callbacks: list[Any] = [recorder, *stopping]
            if new and processes.first:
                run.write_data(dataset, reason)
                run.write_config(chosen.configuration)
            print(
                opening(
                    dataset,
                    pair,
                    run.folder,
                    reason=reason,
                    options=chosen.configuration,
                    latent=latent,
                ),
                flush=True,
            )
            return ppvae.inference.fit(pair, dataset, callbacks=callbacks, **options)

        result, code = ending.trained(train, run, checkpoints, chosen, new and processes.first)
        if not processes.first:
            return code
        interrupted = result.reason == "interrupted"
        ending.keep(run, pair, result, chosen.configuration, figures and not interrupted)
        if interrupted:
            return ending.stopped(run, checkpoints, code)
        compiled = compile is not False
        options = {"draws": draws, "seed": seed, "refine_seconds": refine_seconds}
        measured = measuring.measure(
            run, pair, dataset, "test", compile=compiled, figures=figures, **options
        )
        if report and not measured:
            runs = {str(run.folder): (run, dataset, pair)}
            page = run.folder / reporting.FILE
            measured = reporting.written(runs, page, split="test", **options)
        return code or measured


def _recorder(run: "Run", tensorboard: bool) -> "Callable[[Training], None]":
    """Return one callback that writes what is recorded: their number does not change on resume."""
    recorders: list[Any] = [ppvae.reports.Metrics(run.folder)]
    if tensorboard:
        recorders.append(ppvae.inference.TensorBoard(run.folder))

    def record(training: "Training") -> None:
        for each in recorders:
            each(training)

    return record


def _recorded_elsewhere(training: "Training") -> None:
    """Take the place of the first process's recorder: all have as many callbacks."""


def _assembled(
    dataset: "Dataset", latent: int, seed: int, parts: Mapping[str, Any]
) -> "nn.Module":
    """Build the VAE of the parts that were chosen."""
    given = {name: part for name, part in parts.items() if part is not None}
    with ppvae.engine.seeded(seed):
        return ppvae.pairs.assemble(dataset, latent=latent, **given)
