"""What was measured of a run, kept in its folder with what it was measured of."""

import hashlib
import inspect
import json
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from ppvae.answers import write_draws
from ppvae.data import Dataset, LazyRows, RowsOnDisk
from ppvae.data.hdf5_files import check_hdf5
from ppvae.diagnostics import Diagnosis, Effort
from ppvae.inference.persistence import atomic_write, read_json, write_json
from ppvae.reports.formula_two import FormulaTwo
from ppvae.reports.found import Found
from ppvae.reports.refinement_in_time import RowsInTime
from ppvae.reports.run_folder import Run

_ENGINE: Final = "h5netcdf"

Mark = Mapping[str, Any]
"""What a measurement is of: weights, program, rows, split, seed and version."""


def mark_of(run: Run, pair: nn.Module, dataset: Dataset, split: str, seed: int) -> Mark | None:
    """Return what a measurement of a run's pair is of; None before the pair was saved."""
    weights = run.folder / "pair.safetensors"
    if not weights.is_file():
        return None
    return {
        "ppvae": version("ppvae"),
        "weights": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "program": _program(pair),
        "rows": _rows(dataset),
        "split": split,
        "seed": seed,
    }


def keep_formula_two(run: Run, split: str, mark: Mark | None, found: FormulaTwo) -> None:
    """Write the terms of each row as `evidence-SPLIT.nc`."""
    if found.evidence is None:
        return
    about: dict[str, Any] = {"of": mark, "unrefined": found.unrefined}
    groups = {"guide": found.evidence}
    if found.refined is not None:
        rows = found.refined
        about |= {"choice": rows.choice, "seconds": rows.seconds, "reasons": rows.reasons}
        groups["refined"] = rows.table.assign(places=("data", rows.places))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "evidence.nc"
        xr.Dataset(attrs={"about": json.dumps(about)}).to_netcdf(file, engine=_ENGINE)
        for name, group in groups.items():
            group.to_netcdf(file, mode="a", group=name, engine=_ENGINE)
        with atomic_write(run.folder / f"evidence-{split}.nc") as whole:
            whole.write(file.read_bytes())


def kept_formula_two(run: Run, split: str, mark: Mark | None) -> FormulaTwo | None:
    """Return the terms that are kept, if they are of the same weights, rows and seed.

    Raises:
        ValueError: if the file is damaged.
    """
    path = run.folder / f"evidence-{split}.nc"
    if mark is None or not path.is_file():
        return None
    try:
        check_hdf5(path)
        about = json.loads(_group(path, None).attrs["about"])
        if about["of"] != mark:
            return None
        evidence = _group(path, "guide")
        evidence["trusted"] = evidence.trusted.astype(bool)
        if "choice" not in about:
            return FormulaTwo(evidence, unrefined=str(about["unrefined"]))
        table = _group(path, "refined")
        table["trusted"] = table.trusted.astype(bool)
        places = table.places.values
        rows = RowsInTime(
            table.drop_vars("places"),
            evidence.isel(data=places),
            evidence.sizes["data"],
            str(about["choice"]),
            float(about["seconds"]),
            dict(about["reasons"]),
            places,
        )
    except Exception as error:  # it may hold anything
        raise _damaged(path) from error
    return FormulaTwo(evidence, rows)


def keep_diagnosis(
    run: Run, split: str, mark: Mark | None, diagnosis: Diagnosis, effort: Effort
) -> None:
    """Write the numbers as `diagnosis-SPLIT.nc`, the findings as `diagnosis-SPLIT.json`."""
    write_draws(diagnosis.to_arviz(), run.folder / f"diagnosis-{split}.nc")
    content = {"of": mark, **Found.of(diagnosis, effort).content()}
    write_json(run.folder / f"diagnosis-{split}.json", content)


def kept_diagnosis(run: Run, split: str, mark: Mark | None) -> Found | None:
    """Return the findings that are kept, if they are of the same weights, rows and seed.

    Raises:
        ValueError: if a file is damaged.
    """
    path = run.folder / f"diagnosis-{split}.json"
    numbers = path.with_suffix(".nc")
    if mark is None or not path.is_file() or not numbers.is_file():
        return None
    content = read_json(path)
    if content.get("of") != mark:
        return None
    try:
        check_hdf5(numbers)
        names = [name for each in content["findings"] for name in each["results"]]
        results = {name: _group(numbers, name) for name in names}
        return Found.read(content, results)
    except Exception as error:  # it may hold anything
        raise _damaged(path) from error


def _group(path: Path, name: str | None) -> xr.Dataset:
    with xr.open_dataset(path, group=name, engine=_ENGINE) as group:
        return group.load()


def _damaged(path: Path) -> ValueError:
    return ValueError(f"{path} is damaged; remove it, and it is measured anew")


def _program(pair: nn.Module) -> str:
    """Return the fingerprint of the file that defines the pair's class."""
    source = None
    with suppress(TypeError, OSError):  # a class of a session has no file
        source = inspect.getsourcefile(type(pair))
    text = Path(source).read_bytes() if source and Path(source).is_file() else b""
    return hashlib.sha256(text).hexdigest()


def _rows(dataset: Dataset) -> str:
    """Return the fingerprint of all rows, and of what pairs are given beside them."""
    digest = hashlib.sha256()
    for part in ("train", "validation", "test"):
        given = (*dataset.batch(part), *(each[part] for each in _known(dataset) if part in each))
        for values in given:
            digest.update(str(tuple(values.shape)).encode())
            if isinstance(values, LazyRows):
                for array in values.marks():
                    digest.update(np.ascontiguousarray(array))
            else:
                digest.update(_bytes(values))
    return digest.hexdigest()


def _known(dataset: Dataset) -> tuple[Mapping[str, Tensor], ...]:
    counted = isinstance(dataset.train, RowsOnDisk)  # which rows of the files these are is known
    return dataset.labels, dataset.factors, {} if counted else dataset.rows


def _bytes(values: Tensor) -> Any:
    return values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
