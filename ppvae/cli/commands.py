"""The commands: functions whose signatures and docstrings are the command line.

Nothing heavy is imported with this module: the rooms of `ppvae` are imported when a command runs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ppvae
from ppvae.cli import answering, fitting, generating, measuring, refining, reporting
from ppvae.cli.chosen import Chosen


def data(chosen: Chosen, *, output: Path | None = None) -> int:
    """Show what a file holds before any training: the type and values of each column, oddities.

    Args:
        chosen: the data.
        output: a file for the schema of a table, to be corrected and passed as --schema; none
            unless given.

    Example:
        ppvae data wine.csv --label quality
    """
    schema = chosen.dataset.schema
    if output is not None and schema is None:
        raise ValueError("--output takes the schema of a table; these data are none")
    print(ppvae.reports.described(chosen.dataset))
    if output is not None and schema is not None:
        ppvae.inference.persistence.write_bytes(output, schema.write().encode())
        print(output)
    return 0


COMMANDS: dict[str, Callable[..., int]] = {
    "data": data,
    "fit": fitting.fit,
    "diagnose": measuring.diagnose,
    "refine": refining.refine,
    "report": reporting.report,
    "encode": answering.encode,
    "score": answering.score,
    "impute": answering.impute,
    "reconstruct": answering.reconstruct,
    "sample": generating.sample,
    "interpolate": generating.interpolate,
    "compare": generating.compare,
}

TAKE_DATA = ("data", "fit")
"""The commands whose first argument is the data."""

DATA_HELP = (
    "file (.csv, .xlsx, .npy), folder of pictures, or digits; tables are .csv, .tsv, .txt, these "
    "also with .gz, .xlsx, .parquet and .feather, arrays .npy and .npz, counts .h5ad and .mtx. "
    "Other names are mnist, wine, breast_cancer, segments, colors, factors, eeg and state_space. "
    "It may also be the import path of a function that returns a dataset"
)
_OF_A_RUN: dict[str, tuple[Any, str]] = {
    "pair": (str, "your own pair by import path, if its run could not keep its structure"),
    "trust": (
        list[str],
        "what the run's files may name besides classes of ppvae, torch and Pyro, such as "
        "mymodule.MyNetwork, or mymodule for all that is defined in it",
    ),
}
CHOICES: dict[str, dict[str, tuple[Any, str]]] = {
    "data": {},
    "fit": {
        "pair": (
            str,
            "a pair with another structure, such as ConditionalVAE, its options as --pair.OPTION "
            "(`ppvae fit --pair.help` lists them); or one of your own by import path, such as "
            "mymodule.MyPair, complete in itself; its argument `features`, if it has one, is "
            "filled from the "
            "data. Without it a VAE is built from the options below",
        ),
        "trust": (
            list[str],
            "what a configuration file may name besides classes of ppvae, torch and Pyro, such "
            "as mymodule.MyNetwork, or mymodule for all that is defined in it",
        ),
        "config": (str, "a YAML file of options, such as a run's config.yaml"),
    },
    **{name: _OF_A_RUN for name in COMMANDS if name not in TAKE_DATA},
}
"""The options that choose what `Chosen` holds, with types and explanations."""
