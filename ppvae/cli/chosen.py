"""What a command gets besides its own options: the data, and a run's pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import ppvae

if TYPE_CHECKING:
    from torch import nn

    from ppvae.data import Dataset
    from ppvae.reports import Run


class Structure(Protocol):
    """A pair of ours that is chosen by its name, such as `structures.Structure`."""

    def batches(self, dataset: "Dataset") -> "Dataset":
        """Return the dataset whose batches the pair takes."""

    def built(self, dataset: "Dataset", parts: Mapping[str, Any], seed: int) -> "nn.Module":
        """Return the pair for a dataset."""


@dataclass(frozen=True)
class Chosen:
    """What the words and the configuration choose besides a command's own options.

    Args:
        dataset: the data.
        pair: the user's own pair, if one was chosen.
        trust: what may be built beside the classes of ppvae and torch.nn.
        configuration: the options that repeat the command, by name.
        conditional: whether the pair of a run is given the class of each datapoint.
        structure: the pair of ours that was chosen by its name.
        others: the same of the other runs of a command that takes several.
    """

    dataset: "Dataset"
    pair: "nn.Module | None" = None
    trust: Sequence[str] = ()
    configuration: Mapping[str, Any] = field(default_factory=dict)
    conditional: bool = False
    structure: Structure | None = None
    others: "Sequence[Chosen]" = ()


def opened(chosen: Chosen, folder: Path) -> "tuple[Run, Dataset, nn.Module]":
    """Return a run with its dataset and its pair."""
    run = ppvae.reports.Run(folder)
    dataset = run.standardized(chosen.dataset)
    if chosen.structure is not None:
        dataset = chosen.structure.batches(dataset)
    elif chosen.conditional:
        dataset = dataset.conditional()
    return run, dataset, ppvae.load(run.folder, pair=chosen.pair, trust=chosen.trust)
