"""What a command gets besides its own options: the data, and a run's pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ppvae

if TYPE_CHECKING:
    from torch import nn

    from ppvae.data import Dataset
    from ppvae.reports import Run


@dataclass(frozen=True)
class Chosen:
    """What the words and the configuration choose besides a command's own options.

    Args:
        dataset: the data.
        pair: the user's own pair, if one was chosen.
        trust: what may be built beside the classes of ppvae and torch.nn.
        configuration: the options that repeat the command, by name.
        conditional: whether the pair of a run is given the class of each datapoint.
        others: the same of the other runs of a command that takes several.
    """

    dataset: "Dataset"
    pair: "nn.Module | None" = None
    trust: Sequence[str] = ()
    configuration: Mapping[str, Any] = field(default_factory=dict)
    conditional: bool = False
    others: "Sequence[Chosen]" = ()


def opened(chosen: Chosen, folder: Path) -> "tuple[Run, Dataset, nn.Module]":
    """Return a run with its dataset and its pair."""
    run = ppvae.reports.Run(folder)
    dataset = run.standardized(chosen.dataset)
    dataset = dataset.conditional() if chosen.conditional else dataset
    return run, dataset, ppvae.load(run.folder, pair=chosen.pair, trust=chosen.trust)
