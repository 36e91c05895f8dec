"""Tables as files: CSV, Parquet or netCDF by the ending."""

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ppvae.answers.rows import Frame, free
from ppvae.inference.persistence import atomic_write

ENDINGS = (".csv", ".parquet", ".nc")
STDOUT = Path("-")
"""The standard output, in place of a file."""


def check_output(path: Path | None) -> None:
    """Refuse an ending that is not known, or whose package is not installed, before any work.

    Raises:
        ImportError: if the package that writes the file is not installed.
        ValueError: if the ending is another, or the folder does not exist.
    """
    if path is None or path == STDOUT:
        return
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise ValueError(
            f"--output {path} ends in {ending!r}; expected {', '.join(ENDINGS)}, or - for CSV on "
            "the standard output"
        )
    if not path.parent.is_dir():
        raise ValueError(f"--output {path}: there is no folder {path.parent}")
    if ending == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ImportError(
            f"{path} needs the package pyarrow: pip install 'ppvae[parquet]', or write .csv"
        )


def write_table(table: Frame, path: Path, about: Mapping[str, Any] | None = None) -> None:
    """Write a table to a file, whole or not at all, or as CSV to the standard output.

    In netCDF, every column is a variable with the dim "data". Names with "/" have "_" there, and
    the column's own name as the attribute `long_name`.

    Args:
        table: a pandas frame.
        path: the file, or `STDOUT`.
        about: attributes of a netCDF file, such as units.

    Raises:
        ImportError, ValueError: as `check_output` does.
    """
    check_output(path)
    if path == STDOUT:
        try:
            table.to_csv(sys.stdout, index=False)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever reads wants no more, such as `head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    ending = path.suffix.lower()
    if ending == ".nc":
        content = _netcdf(table, dict(about or {}))
        with atomic_write(path) as file:
            file.write(content)
        return
    with atomic_write(path) as file:
        if ending == ".csv":
            table.to_csv(file, index=False)
        else:
            _uniform(table).to_parquet(file, index=False)


def write_draws(draws: Any, path: Path) -> None:
    """Write ArviZ data as netCDF, whole or not at all.

    Args:
        draws: what a `to_arviz` returned.
        path: the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "draws.nc"
        draws.to_netcdf(file, engine="h5netcdf")
        with atomic_write(path) as whole, file.open("rb") as parts:
            shutil.copyfileobj(parts, whole)


def _netcdf(table: Frame, about: dict[str, Any]) -> bytes:
    variables: dict[str, Any] = {}
    for name in table.columns:
        cells = np.asarray(table[name])
        if cells.dtype == object:
            cells = np.array(["" if _missing(cell) else str(cell) for cell in cells], dtype=object)
        elif cells.dtype.kind == "M":
            cells = cells.astype("datetime64[ns]")
        own = free(str(name).replace("/", "_"), variables)
        variables[own] = ("data", cells, {} if own == name else {"long_name": str(name)})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "table.nc"
        xr.Dataset(variables, attrs=about).to_netcdf(file, engine="h5netcdf")
        return file.read_bytes()


def _uniform(table: Frame) -> Frame:
    """Return a table whose columns of mixed types are text, as Parquet needs them."""
    mixed = {
        name: [None if _missing(cell) else str(cell) for cell in table[name]]
        for name in table.columns
        if table[name].dtype == object
        and len({type(cell) for cell in table[name] if not _missing(cell)}) > 1
    }
    return table.assign(**mixed) if mixed else table


def _missing(cell: Any) -> bool:
    return cell is None or cell != cell
