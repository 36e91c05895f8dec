"""How to get the same numbers again: commands, configuration, versions, seed, rows."""

import platform
import shlex
from importlib.metadata import version

import pyro
import torch

from ppvae.reports.page.contents import Block, Code, Fact, Facts, Listing, Section, Text
from ppvae.reports.page.subject import Subject


def reproduction_section(subject: Subject) -> Section:
    """Return how the pair was trained and how this page was made."""
    blocks: list[Block] = []
    if subject.run is not None:
        folder = shlex.quote(subject.run)
        commands = (
            f"ppvae fit --config {folder}/config.yaml\n"
            f"ppvae diagnose {folder} --split {subject.split} --seed {subject.seed}\n"
            f"ppvae report {folder} --split {subject.split} --seed {subject.seed}"
        )
        blocks += [
            Text("Train the pair again, measure it, write this page:"),
            Code(commands, "Commands"),
        ]
    blocks.append(Facts(tuple([*_rows(subject), Fact("seed of the draws", str(subject.seed))])))
    blocks += [
        Text("This page was made with:"),
        Facts(
            (
                Fact("ppvae", version("ppvae")),
                Fact("torch", torch.__version__),
                Fact("pyro", pyro.__version__),
                Fact("python", platform.python_version()),
            )
        ),
    ]
    blocks += [Listing(subject.sources)] if subject.sources else []
    if subject.configuration:
        blocks += [
            Text("The configuration that repeats the training:"),
            Code(subject.configuration.rstrip(), "Configuration", tall=True),
        ]
    if subject.notes:
        blocks += [Text("What was decided in reading the data:"), Listing(subject.notes)]
    return Section("reproduce", "How to reproduce", blocks)


def _rows(subject: Subject) -> list[Fact]:
    if subject.dataset is None:
        return [Fact("rows", f"{len(subject.batch[0]):,}")]
    parts = ("train", "validation", "test")
    return [Fact(f"{part} rows", f"{len(getattr(subject.dataset, part)):,}") for part in parts]
