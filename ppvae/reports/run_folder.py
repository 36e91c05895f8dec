"""The folder of a run and the files in it."""

import fnmatch
import itertools
import os
import shutil
import stat
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
from ppvae.inference.persistence import (
    LOCK,
    Lock,
    atomic_write,
    make_folder,
    read_json,
    remove_left_over,
    sync_folder,
    write_bytes,
    write_json,
)

_CONFIG = "config.yaml"
_DATA = "data.json"
_SCHEMA = "schema.yaml"
_STANDARDIZATION = "standardization.json"
_JOB = "job.json"
_FIGURES = "figures"
_WRITTEN = (  # what a run writes: nothing else is removed with a run that is overwritten
    *(
        _CONFIG,
        _DATA,
        _SCHEMA,
        _STANDARDIZATION,
        _JOB,
        "metrics.jsonl",
        "pair.json",
        "pair.safetensors",
        "samples.npy",
        "samples-labels.npy",
        "samples.csv",
        "interpolation.csv",
    ),
    *("latents-*.csv", "scores-*.csv", "imputed-*.csv", "reconstructions-*.csv"),
    *("refined-*.csv", "refined-*.nc", "events.out.tfevents.*"),
    *("checkpoint.json", "checkpoint-*.safetensors", LOCK, "evidence-*.json", "evidence-*.nc"),
    *("diagnosis-*.nc", "diagnosis-*.json", "report.html"),
    *(f"{_FIGURES}/*.png", ".*.????????????????", f"{_FIGURES}/.*.????????????????"),
)


class _WithoutAliases(yaml.SafeDumper):  # type: ignore[misc]
    """Writes a value twice that occurs twice: a configuration with aliases is not read."""

    def ignore_aliases(self, data: object) -> bool:
        return True


class Run:
    """The folder of one run.

    Args:
        folder: an existing folder.

    Raises:
        FileNotFoundError: if it is no folder.
        ValueError: if it holds anything but plain files and folders, such as a symbolic link.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not the folder of a run")
        for path in _content(folder):
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode) or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                kind = "a symbolic link" if stat.S_ISLNK(mode) else "no plain file or folder"
                raise ValueError(f"{path} is {kind}; a run holds its own files only, remove it")
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
            OSError: if another process trains the run that is to be overwritten.
            ValueError: if a symbolic link is to be overwritten.
        """
        if folder is None:
            make_folder(Path("runs"))
            for number in itertools.count(1):
                try:
                    folder = Path("runs") / f"{name}-{number}"
                    folder.mkdir()
                    sync_folder(folder.parent)
                    break
                except FileExistsError:
                    continue
        elif overwrite and folder.is_dir():
            return cls._in_place_of(folder)
        else:
            if os.path.lexists(folder):
                raise FileExistsError(
                    f"{folder} exists; choose another --folder or add --overwrite true"
                )
            make_folder(folder.parent)
            folder.mkdir()
            sync_folder(folder.parent)
        assert folder is not None
        return cls(folder)

    @classmethod
    def _in_place_of(cls, folder: Path) -> "Run":
        """Put a new run where another is, which is kept aside until the new one is saved."""
        aside = _aside(folder)
        for place in (folder, aside):
            if place.is_symlink():
                raise ValueError(f"{place} is a symbolic link, which is not overwritten")
        foreign = [*_foreign(folder), *(_foreign(aside) if aside.is_dir() else ())]
        if foreign or (any(folder.iterdir()) and not (folder / _CONFIG).exists()):
            what = f"{foreign[0]} is no file of a run" if foreign else f"it holds no {_CONFIG}"
            raise FileExistsError(f"{folder} is no run, since {what}; choose another --folder")
        with Lock(folder):
            pass  # no other process trains it
        if aside.is_dir() and not (folder / "pair.json").exists():
            shutil.rmtree(folder)  # it was killed before it was saved: the older run counts
        else:
            if aside.exists():
                shutil.rmtree(aside)
            folder.rename(aside)
        folder.mkdir()
        sync_folder(folder.parent)
        run = cls(folder)
        run._aside = aside
        return run

    @classmethod
    def resume(cls, folder: Path) -> "Run":
        """Return a run to go on with, without what a killed process left in its folder.

        The caller holds its lock: what another process writes looks like what was left.
        """
        run = cls(folder)
        for place in (folder, folder / _FIGURES):
            if place.is_dir():
                remove_left_over(place)
        aside = folder.absolute().with_name(f".{folder.absolute().name}.replaced")
        if aside.is_dir() and not aside.is_symlink() and not _foreign(aside):
            run._aside = aside  # the run that this one was to overwrite
        return run

    @property
    def config(self) -> Path:
        """The file of the configuration that repeats the run."""
        return self.folder / _CONFIG

    @property
    def name(self) -> str:
        """What figures call the run: its folder and the one that this lies in."""
        return "/".join(self.folder.absolute().parts[1:][-2:])

    @property
    def schema(self) -> Path | None:
        """The file of the schema of the run's table, if its data are one."""
        path = self.folder / _SCHEMA
        return path if path.exists() else None

    @property
    def is_old(self) -> bool:
        """Whether version 0.1 wrote the run's pair, which takes values as that version did."""
        saved = (self.folder / "pair.json").exists()
        return saved and not (self.folder / _DATA).exists()

    def write_config(self, options: Mapping[str, Any]) -> None:
        """Write the configuration that repeats the run: options of the command line by name."""
        text = yaml.dump(dict(options), Dumper=_WithoutAliases, sort_keys=False)
        write_bytes(self.config, text.encode())

    @property
    def job(self) -> str | None:
        """The job of several processes that trains or trained here, if there was one."""
        path = self.folder / _JOB
        return str(read_json(path).get("job")) if path.exists() else None

    def write_job(self, job: str) -> None:
        """Keep the job, so that its processes find the run when they are started again."""
        write_json(self.folder / _JOB, {"job": job})

    def write_data(self, dataset: Dataset, likelihood: str) -> None:
        """Keep what was decided about the data, and why the pair has its likelihood.

        Of a table, keep what its columns hold, which new rows are read by.
        """
        content = {"notes": [*dataset.notes, *([likelihood] if likelihood else [])]}
        write_json(self.folder / _DATA, content)
        if dataset.schema is not None:
            write_bytes(self.folder / _SCHEMA, dataset.schema.write().encode())

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
        except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
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
        return replace(
            dataset,
            train=by(dataset.train),
            validation=by(dataset.validation),
            test=by(dataset.test),
            support=constraints.real,
            standardization=None,
        )

    def discard_if_unused(self) -> None:
        """Remove the folder if training wrote nothing into it; put back what was there before."""
        names = {path.name for path in self.folder.iterdir()}
        if names <= {_CONFIG, _DATA, _SCHEMA, _JOB, LOCK}:
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
        path = self.folder / _FIGURES / f"{name}.png"
        if path.parent.is_symlink():
            raise ValueError(f"{path.parent} is a symbolic link, through which nothing is written")
        path.parent.mkdir(exist_ok=True)
        with atomic_write(path) as file:
            figure.savefig(file, format="png", dpi=150)
        return path


def _aside(folder: Path) -> Path:
    """Return where the run of a folder is kept while another takes its place."""
    if folder.name in ("", ".."):
        raise ValueError(f"--folder {folder} cannot be overwritten; give the folder by its name")
    return folder.with_name(f".{folder.name}.replaced")


def _content(folder: Path) -> list[Path]:
    """Return what lies in a folder and below its figures; links are not followed."""
    below = [
        Path(place) / name
        for place, folders, files in os.walk(folder / _FIGURES)
        for name in (*folders, *files)
        if not (folder / _FIGURES).is_symlink()
    ]
    return [*folder.iterdir(), *below]


def _foreign(folder: Path) -> list[Path]:
    """Return what lies in a folder and no run writes."""
    return [
        path
        for path in _content(folder)
        if not any(fnmatch.fnmatchcase(str(path.relative_to(folder)), p) for p in _WRITTEN)
        and not (path.is_dir() and _FIGURES in path.relative_to(folder).parts[:1])
    ]
