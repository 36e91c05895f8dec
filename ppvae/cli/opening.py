"""What a fit prints before it trains: what was chosen."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppvae.cli.layout import hanging

if TYPE_CHECKING:
    from torch import nn

    from ppvae.data import Dataset

_INDENT = 12
_MOST = 3  # lines of one item


def opening(
    dataset: "Dataset",
    pair: "nn.Module",
    folder: Path,
    *,
    reason: str = "",
    options: Mapping[str, Any],
    latent: int,
) -> str:
    """Return at most eight lines: the data, the likelihood, the sizes, the scaling, the folder.

    Args:
        dataset: the data.
        pair: what is trained.
        folder: that of the run.
        reason: which likelihood the data got, and why; "" if it was chosen otherwise.
        options: those of the command, as a configuration has them.
        latent: number of latent dimensions of a VAE that was built here.
    """
    from ppvae.likelihoods import Units
    from ppvae.networks import Scaled, Standardized

    count = sum(parameter.numel() for parameter in pair.parameters())
    sizes = f"{count:,} parameters"
    named = options.get("pair", "")
    named = named.get("class_path") if isinstance(named, Mapping) else named
    ours = str(named).startswith("ppvae.pairs.")
    if named and not ours:
        chosen = f"{type(pair).__name__}, your own, {sizes}; it gets the values as they are"
        items = {"data": _counted(dataset), "pair": chosen}
    else:
        scaled = any(isinstance(part, Units | Scaled | Standardized) for part in pair.modules())
        told = reason.removeprefix("likelihood ") if scaled or not ours else ""
        likelihood = told or type(pair.likelihood).__name__
        kind = f"{type(pair).__name__}, " if ours else f"{latent} latent dimensions, "
        items = {
            "data": _counted(dataset),
            "likelihood": likelihood,
            "pair": f"{kind}{_network(options)}, {sizes}",
            "scaling": "within the pair; values, densities and samples are in the data's units"
            if scaled or not ours
            else "none; the pair gets the values as they are",
        }
    lines = []
    for title, text in items.items():
        more = f"... {folder}/data.json has all" if title == "likelihood" else "..."
        lines += hanging(title, text, _INDENT, _MOST if title == "likelihood" else 1, more)
    lines.append(f"{'run':{_INDENT}}{folder}")  # a path is not cut
    return "\n".join(lines)


def _counted(dataset: "Dataset") -> str:
    rows = (dataset.train, dataset.validation, dataset.test)
    training, validation, test = (f"{len(part):,}" for part in rows)
    features = dataset.event_shape.numel()
    return (
        f"{dataset.name}: {training} training, {validation} validation and {test} test rows of "
        f"{features:,} feature{'s' * (features != 1)}"
    )


def _network(options: Mapping[str, Any]) -> str:
    """Return the last name of the class of the networks."""
    chosen = options.get("network")
    name = chosen.get("class_path") if isinstance(chosen, Mapping) else chosen
    return str(name).rpartition(".")[2]
