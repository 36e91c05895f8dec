"""Counts of an AnnData, in memory or in a file `.h5ad`."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from ppvae.data.count_matrix import CountMatrix, are_whole, checked
from ppvae.data.files import check_plain, reading
from ppvae.data.hdf5_files import check_hdf5

_SAMPLE = 100_000  # values that are looked at in layers that are not taken
_RAW, _MAIN = "raw", "X"


def is_annotated(source: object) -> bool:
    """Tell whether something is an AnnData."""
    return all(hasattr(source, name) for name in ("X", "obs", "var_names", "layers"))


def of_annotated(data: Any, layer: str | None) -> CountMatrix:
    """Return the counts of an AnnData: its X or a layer, "raw" for those that it keeps aside.

    Raises:
        ValueError: if there is no such layer.
    """
    layers = {_MAIN: data.X, **data.layers}
    raw = getattr(data, "raw", None)
    if raw is not None:
        layers[_RAW] = raw.X
    chosen = _chosen("the AnnData", layers, layer)
    matrix = layers[chosen]
    genes = raw.var_names if chosen == _RAW and raw is not None else data.var_names
    return CountMatrix.of(
        "counts",
        matrix.to_memory() if hasattr(matrix, "to_memory") else matrix,
        tuple(map(str, genes)),
        tuple(map(str, data.obs_names)),
        data.obs,
        tuple(n for n, m in layers.items() if n != chosen and are_whole(_sample(m))),
    )


def read_annotated(path: Path, layer: str | None) -> CountMatrix:
    """Read the counts of a file `.h5ad`, and nothing else that is large.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if the package anndata is not installed.
        ValueError: if the file is damaged, or there is no such layer.
    """
    check_plain(path)
    try:
        from anndata.io import read_elem
    except ImportError:
        raise ImportError(
            f"{path} needs the package anndata: pip install 'ppvae[counts]'"
        ) from None
    import h5py

    check_hdf5(path, places=())
    with reading(path), h5py.File(path, "r") as file:
        layers = {_MAIN: file[_MAIN]} if _MAIN in file else {}
        layers |= dict(file["layers"].items()) if "layers" in file else {}
        if "raw" in file:
            layers[_RAW] = file["raw"][_MAIN]
        whole = {name: are_whole(_sample(part)) for name, part in layers.items()}
    chosen = _chosen(str(path), layers, layer)
    place = {_MAIN: _MAIN, _RAW: f"raw/{_MAIN}"}.get(chosen, f"layers/{chosen}")
    names = "raw/var" if chosen == _RAW else "var"
    check_hdf5(path, places=(place, "obs", names))
    with reading(path), h5py.File(path, "r") as file:
        cells, genes = read_elem(file["obs"]), read_elem(file[names])
        return CountMatrix.of(
            path.stem,
            checked(read_elem(file[place])),
            tuple(map(str, genes.index)),
            tuple(map(str, cells.index)),
            cells,
            tuple(name for name, counted in whole.items() if name != chosen and counted),
        )


def _chosen(where: str, layers: Mapping[str, Any], layer: str | None) -> str:
    """Return the name of the layer that is asked for."""
    chosen = _MAIN if layer is None else layer
    if layers.get(chosen) is None:
        names = [name for name, matrix in layers.items() if matrix is not None]
        near = get_close_matches(chosen, names, n=1)
        meant = f" (did you mean {near[0]!r}?)" if near else ""
        shown = ", ".join(map(repr, names)) or "none"
        raise ValueError(f"{where} has no layer {chosen!r}{meant}; it has {shown:.300}")
    return chosen


def _sample(matrix: Any) -> Any:
    """Return some of the values of a matrix, or of a part of a file."""
    if matrix is None:
        return np.array([0.5])
    if hasattr(matrix, "data") and not isinstance(matrix, np.ndarray):
        return matrix.data[:_SAMPLE]  # a sparse one in memory
    if hasattr(matrix, "keys"):
        return matrix["data"][:_SAMPLE]  # a sparse one in a file
    return matrix[: max(1, _SAMPLE // max(1, matrix.shape[1]))]
