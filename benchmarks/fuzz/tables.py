"""Files of tables, counts, pictures and schemas."""

import bz2
import gzip
import io
import lzma
import zipfile

import numpy as np
import pandas
import scipy.io
import scipy.sparse
import torch
from PIL import Image

from ppvae import data
from ppvae.data.tabular import Schema

RANDOM = np.random.default_rng(0)
ROWS = 24
FRAME = pandas.DataFrame(
    {
        "size": RANDOM.normal(size=ROWS).round(3),
        "count": RANDOM.poisson(3.0, ROWS),
        "color": RANDOM.choice(["red", "blue", "green, dark"], ROWS),
        "town": [f"town {n % 5}" for n in range(ROWS)],
        "maybe": np.where(RANDOM.random(ROWS) < 0.2, np.nan, RANDOM.random(ROWS).round(2)),
    }
)
COUNTS = RANDOM.poisson(1.0, (ROWS, 5)) + np.eye(ROWS, 5, dtype=int)
COUNTS[:, 0] += 1


def numbers():
    plain = FRAME[["size", "count"]]
    return [
        plain.to_csv(index=False).encode(),
        plain.to_csv(header=False, index=False).encode(),
        plain.to_csv().encode(),
    ]


def texts():
    return [
        FRAME.to_csv(index=False).encode(),
        FRAME.to_csv(sep=";", decimal=",", index=False).encode("latin1"),
        FRAME.to_csv(sep="\t").encode("utf-16"),
        b"# of a station\n\n" + FRAME[["size", "count"]].to_string(index=False).encode(),
    ]


def texts_gz():
    return [gzip.compress(content, mtime=0) for content in texts()]


def texts_bz2():
    return [bz2.compress(content) for content in texts()]


def texts_xz():
    return [lzma.compress(content) for content in texts()]


def _written(write, *arguments, **options):
    """Return the bytes that a function writes into a file that it is given first."""
    file = io.BytesIO()
    write(file, *arguments, **options)
    return file.getvalue()


def parquet():
    text = FRAME.astype({"color": "category"})
    return [
        _written(text.to_parquet, compression=method)
        for method in ("snappy", "gzip", "zstd", None)
    ]


def number_parquet():
    plain = FRAME[["size", "count"]].astype("float32")
    return [_written(plain.to_parquet, compression=method) for method in ("snappy", None)]


def read_on_disk(path):
    found = data.on_disk(path)
    for part in (found.train, found.validation, found.test):
        part[torch.arange(len(part))]
    return found


def feather():
    return [_written(FRAME.to_feather)]


def xlsx():
    return [_written(FRAME.to_excel, index=False)]


_SHEET = "xl/worksheets/sheet1.xml"


def sheet():
    with zipfile.ZipFile(io.BytesIO(xlsx()[0])) as archive:
        return [archive.read(_SHEET)]


def with_sheet(content):
    """Return a spreadsheet with another content of its sheet."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(_book())) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name == _SHEET else old.read(name))
    return file.getvalue()


def _book(made=[]):  # noqa: B006  it is made once
    made[:] = made or xlsx()
    return made[0]


def mtx():
    file = io.BytesIO()
    scipy.io.mmwrite(file, scipy.sparse.coo_array(COUNTS.T))
    return [file.getvalue()]


def names_beside(folder):
    genes = [f"ENS{n}\tgene{n}\tGene Expression\n" for n in range(COUNTS.shape[1])]
    (folder / "features.tsv").write_text("".join(genes))
    (folder / "barcodes.tsv").write_text("".join(f"cell{n}\n" for n in range(ROWS)))


def counts_npz():
    matrix = scipy.sparse.csr_array(COUNTS)
    return [
        _written(scipy.sparse.save_npz, of, compressed=packed)
        for of in (matrix, matrix.tocsc(), matrix.tocoo())
        for packed in (False, True)
    ]


def h5ad():
    """Return counts as anndata writes them, here by h5py alone."""
    import h5py

    found = []
    for sparse in (True, False):
        file = io.BytesIO()
        with h5py.File(file, "w") as opened:
            kind = {"encoding-type": "anndata", "encoding-version": "0.1.0"}
            opened.attrs.update(kind)
            if sparse:
                matrix, x = scipy.sparse.csr_array(COUNTS), opened.create_group("X")
                kind = {"encoding-type": "csr_matrix", "encoding-version": "0.1.0"}
                x.attrs.update({**kind, "shape": COUNTS.shape})
                for part in ("data", "indices", "indptr"):
                    x[part] = getattr(matrix, part)
            else:
                x = opened.create_dataset("X", data=COUNTS, compression="gzip")
                x.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
            for name, size in (("obs", ROWS), ("var", COUNTS.shape[1])):
                group = opened.create_group(name)
                kind = {"encoding-type": "dataframe", "encoding-version": "0.2.0"}
                group.attrs.update({**kind, "_index": "_index", "column-order": ["part"]})
                names = [f"{name}{n}".encode() for n in range(size)]
                index = group.create_dataset("_index", data=names, dtype=h5py.string_dtype())
                index.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
                part = group.create_dataset("part", data=np.arange(size) % 2)
                part.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        found.append(file.getvalue())
    return found


def _pictures(form):
    values = RANDOM.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    made = [Image.fromarray(values), Image.fromarray(values[..., 0])]
    made += [made[0].quantize(8), made[0].convert("RGBA")] if form == "PNG" else []
    return [_written(one.save, form) for one in made]


def png():
    return _pictures("PNG")


def jpeg():
    return _pictures("JPEG")


def pictures(folder):
    for number, content in enumerate(png()[:1] * 9):
        (folder / f"{number}.png").write_bytes(content)


def schemas():
    table = FRAME[["size", "count", "color", "maybe"]]
    return [data.table(table, label=label).schema.write().encode() for label in (None, "color")]


def _finite(dataset):
    for part in (dataset.train, dataset.validation, dataset.test):
        assert bool(torch.isfinite(part[:]).all()), "it holds values that are not finite"
    return dataset


def read_table(path):
    return _finite(data.table(path))


def read_counts(path):
    return _finite(data.counts(path))


def read_pictures(path):
    return _finite(data.images(path.parent, size=4))


def read_schema(path):
    found = Schema.read(path)
    assert len(found.features) == len(found.columns) and found.support is not None
    return found
