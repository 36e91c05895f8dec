"""The formats, each with valid small files and what reads them."""

import functools
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.fuzz import arrays, runs, tables


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Args:
        name: what to call it.
        file: the name of the file, which may lie in folders.
        make: returns the contents of valid files.
        read: reads the file, and returns a value or raises.
        pack: what is done to a changed content before it is written, such as compressing it.
        beside: writes what else lies in the folder.
        needs: packages that are needed.
    """

    name: str
    file: str
    make: Callable[[], list[bytes]]
    read: Callable[[Path], Any]
    pack: Callable[[bytes], bytes] | None = None
    beside: Callable[[Path], None] | None = None
    needs: tuple[str, ...] = field(default=())

    @functools.cached_property
    def seeds(self):
        """The contents of valid files."""
        return self.make()

    @property
    def missing(self):
        """The packages that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]

    def prepare(self, folder):
        """Write what lies beside the file into a folder; return the path of the file."""
        path = folder / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.beside is not None:
            self.beside(path.parent)
        return path

    def write(self, path, content):
        """Write a content; a file that is mapped into memory stays as it is."""
        path.unlink(missing_ok=True)
        path.write_bytes(content if self.pack is None else self.pack(content))


FORMATS = {
    form.name: form
    for form in (
        Format("idx", "x.idx", arrays.idx, arrays.read_idx),
        Format("idx.gz", "x.idx", arrays.idx_gz, arrays.read_idx),
        Format("idx.gz inside", "x.idx", arrays.idx, arrays.read_idx, arrays.gzipped),
        Format("npy", "x.npy", arrays.npy, arrays.read_array),
        Format("npz", "x.npz", arrays.npz, arrays.read_array),
        Format("npz inside", "x.npz", arrays.npy, arrays.read_array, arrays.zipped),
        Format("numbers.csv", "x.csv", tables.numbers, arrays.read_array),
        Format("csv", "x.csv", tables.texts, tables.read_table),
        Format("csv.gz", "x.csv.gz", tables.texts_gz, tables.read_table),
        Format("csv.gz inside", "x.csv.gz", tables.texts, tables.read_table, arrays.gzipped),
        Format("csv.bz2", "x.csv.bz2", tables.texts_bz2, tables.read_table),
        Format("csv.xz", "x.csv.xz", tables.texts_xz, tables.read_table),
        Format("parquet", "x.parquet", tables.parquet, tables.read_table, needs=("pyarrow",)),
        Format(
            "numbers.parquet",
            "x.parquet",
            tables.number_parquet,
            tables.read_on_disk,
            needs=("pyarrow",),
        ),
        Format("feather", "x.feather", tables.feather, tables.read_table, needs=("pyarrow",)),
        Format("xlsx", "x.xlsx", tables.xlsx, tables.read_table, needs=("openpyxl",)),
        Format(
            "xlsx inside",
            "x.xlsx",
            tables.sheet,
            tables.read_table,
            tables.with_sheet,
            needs=("openpyxl",),
        ),
        Format("mtx", "matrix.mtx", tables.mtx, tables.read_counts, beside=tables.names_beside),
        Format("counts.npz", "x.npz", tables.counts_npz, tables.read_counts),
        Format("h5ad", "x.h5ad", tables.h5ad, tables.read_counts, needs=("anndata",)),
        Format("png", "pictures/x.png", tables.png, tables.read_pictures, beside=tables.pictures),
        Format(
            "jpeg", "pictures/x.jpg", tables.jpeg, tables.read_pictures, beside=tables.pictures
        ),
        Format("schema.yaml", "schema.yaml", tables.schemas, tables.read_schema),
        Format("config.yaml", "config.yaml", runs.configurations, runs.read_configuration),
        Format("pair.json", "pair.json", runs.structures, runs.read_pair, beside=runs.pair),
        Format(
            "pair.safetensors",
            "pair.safetensors",
            runs.weights,
            runs.read_pair,
            beside=runs.pair_without_digest,
        ),
        Format(
            "checkpoint.json",
            "checkpoint.json",
            runs.checkpoint_states,
            runs.read_checkpoint,
            beside=runs.checkpoint,
        ),
        Format(
            "checkpoint.safetensors",
            "checkpoint-3.safetensors",
            runs.checkpoint_tensors,
            runs.read_checkpoint,
            beside=runs.checkpoint,
        ),
        Format("metrics.jsonl", "metrics.jsonl", runs.metrics, runs.read_metrics),
        Format(
            "standardization.json",
            "standardization.json",
            runs.standardizations,
            runs.read_standardization,
        ),
        Format(
            "diagnosis.json",
            "diagnosis-test.json",
            runs.diagnoses,
            runs.read_diagnosis,
            beside=runs.diagnosis,
        ),
        Format(
            "diagnosis.nc",
            "diagnosis-test.nc",
            runs.diagnosis_numbers,
            runs.read_diagnosis,
            beside=runs.diagnosis,
        ),
        Format("evidence.nc", "evidence-test.nc", runs.evidences, runs.read_evidence),
    )
}
