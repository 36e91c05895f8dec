"""How the training went."""

import numpy as np

from ppvae.reports import plots
from ppvae.reports.page.contents import Block, Fact, Facts, Section, Text
from ppvae.reports.page.numbers import shown
from ppvae.reports.page.pictures import picture_of
from ppvae.reports.page.subject import Subject


def training_section(subject: Subject) -> Section:
    """Return the curves of the training, or why there are none."""
    history = subject.history
    if history is None or not history.sizes.get("step"):
        reason = (
            "The run has no evaluations of its training."
            if subject.run is not None
            else "The evaluations of the training were not given; pass `fit=` what `ppvae.fit` "
            "returned."
        )
        return Section("training", "Training", [Text(reason)])
    steps = history.step.values
    facts = [Fact("steps", f"{int(steps[-1]):,}")]
    if "epoch" in history:
        facts.append(Fact("epochs", f"{int(history.epoch.values[-1]):,}"))
    if "seconds" in history:
        facts.append(Fact("time", _duration(float(history.seconds.values[-1]))))
    for split in ("train", "validation"):
        values = history.get(f"{split}_elbo")
        if values is None or not np.isfinite(values).any():
            continue
        best = int(np.nanargmax(values))
        facts.append(
            Fact(f"best {split} ELBO", shown(float(values[best])), f"step {steps[best]:,}")
        )
    blocks: list[Block] = [
        Facts(tuple(facts)),
        picture_of(
            plots.training_curves(history, subject.marks),
            "ELBO, reconstruction and KL divergence to the prior, in nats per row. A validation "
            "curve that falls while that of training rises says that the pair is overfitted.",
            subject.source,
        ),
    ]
    return Section("training", "Training", blocks)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
