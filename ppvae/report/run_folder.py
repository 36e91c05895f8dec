"""The folder of a run and the files in it."""

import itertools
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from matplotlib.figure import Figure
from torch import nn
from torch.distributions import constraints

from ppvae.data import Dataset, Standardization
from ppvae.inference import save
from ppvae.inference.persistence import atomic_write, read_json, write_bytes, write_json

_CONFIG = "config.yaml"
_DATA = "data.json"
_STANDARDIZATION = "standardization.json"


class Run:
    """The folder of one run.

    Args:
        folder: an existing folder.

    Raises:
        FileNotFoundError: if it is no folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not the folder of a run")
        self.folder = folder
        self._aside: Path | None = None

    @classmethod
    def create(cls, name: str, folder: Path | None = None, overwrite: bool = False) -> "Run":
        """Make the folder of a new run.

        Args:
            name: start of the folder's name below `runs/`, where a number is added.
            folder: the folder itself, instead.
            overwrite: let the new run take the place of another in `folder`, once it is saved.

        Raises:
            FileExistsError: if `folder` exists and may not be overwritten, or is no run's.
        """
        if folder is None:
            Path("runs").mkdir(exist_ok=True)
            for number in itertools.count(1):
                try:
                    folder = Path("runs") / f"{name}-{number}"
                    folder.mkdir()
                    break
                except FileExistsError:
                    continue
        elif overwrite and folder.is_dir():
            return cls._in_place_of(folder)
        else:
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                raise FileExistsError(
                    f"{folder} exists; choose another --folder or add --overwrite true"
                ) from None
        assert folder is not None
        return cls(folder)

    @classmethod
    def _in_place_of(cls, folder: Path) -> "Run":
        """Put a new run where another is, which is kept aside until the new one is saved."""
        if any(folder.iterdir()) and not (folder / _CONFIG).exists():
            raise FileExistsError(
                f"{folder} holds no {_CONFIG}, so it is no run; choose another --folder"
            )
        aside = folder.with_name(f".{folder.name}.replaced")
        if aside.exists():
            shutil.rmtree(aside)
        folder.rename(aside)
        folder.mkdir()
        run = cls(folder)
        run._aside = aside
        return run

    @property
    def config(self) -> Path:
        """The file of the configuration that repeats the run."""
        return self.folder / _CONFIG

    def write_config(self, options: Mapping[str, Any]) -> None:
        """Write the configuration that repeats the run: options of the command line by name."""
        write_bytes(self.config, yaml.safe_dump(dict(options), sort_keys=False).encode())

    def write_data(self, dataset: Dataset, likelihood: str) -> None:
        """Keep what was decided about the data, and why the pair has its likelihood."""
        content = {"notes": [*dataset.notes, *([likelihood] if likelihood else [])]}
        write_json(self.folder / _DATA, content)

    @property
    def standardization(self) -> Standardization | None:
        """That of the data of an old run; pairs of newer ones have it built in.

        Raises:
            ValueError: if what was remembered is damaged.
        """
        path = self.folder / _STANDARDIZATION
        if not path.exists():
            return None
        content = read_json(path)
        try:
            loc, scale = (torch.tensor(content[key]) for key in ("loc", "scale"))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{path} does not fit the data of the run: {error}") from error
        return Standardization(loc, scale)

    def standardized(self, dataset: Dataset) -> Dataset:
        """Return the data of an old run as its pair takes them; those of a newer one as they are.

        Raises:
            ValueError: if what was remembered is damaged, or of other data.
        """
        by = self.standardization
        if by is None:
            return dataset
        if by.loc.shape != dataset.event_shape or by.scale.shape != dataset.event_shape:
            raise ValueError(
                f"{self.folder / _STANDARDIZATION} does not fit the data of the run: it has shape "
                f"{tuple(by.loc.shape)}, a datapoint has {tuple(dataset.event_shape)}"
            )
        by = Standardization(by.loc.to(dataset.train), by.scale.to(dataset.train))
        parts = {part: by(getattr(dataset, part)) for part in ("train", "validation", "test")}
        return replace(dataset, support=constraints.real, standardization=None, **parts)

    def discard_if_unused(self) -> None:
        """Remove the folder if training wrote nothing into it; put back what was there before."""
        if {path.name for path in self.folder.iterdir()} <= {_CONFIG, _DATA}:
            shutil.rmtree(self.folder)
            if self._aside is not None:
                self._aside.rename(self.folder)

    def save(self, pair: nn.Module) -> None:
        """Write the trained pair; of a run that was overwritten nothing is left from here on."""
        save(pair, self.folder)
        if self._aside is not None:
            shutil.rmtree(self._aside)
            self._aside = None

    def figure(self, name: str, figure: Figure) -> Path:
        """Write a figure as PNG below `figures/` and return its path."""
        path = self.folder / "figures" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        with atomic_write(path) as file:
            figure.savefig(file, format="png", dpi=150)
        return path
