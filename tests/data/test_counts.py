"""Counts of cells from every place that they come from, and what is no count."""

import gzip

import numpy as np
import pandas
import pytest
import torch
from scipy import io, sparse
from torch.distributions import constraints

from ppvae import data

CELLS, GENES = 40, 7


def matrix(cells=CELLS):
    random = np.random.default_rng(0)
    counts = random.poisson(0.7, (cells, GENES))
    counts[:, 0] += 1  # no cell is empty
    return sparse.csr_array(counts)


def whole(dataset):
    """Return all rows in the order that they were read in."""
    rows = torch.cat([dataset.rows[part] for part in ("train", "validation", "test")])
    values = torch.cat([getattr(dataset, p)[:] for p in ("train", "validation", "test")])
    return values[rows.argsort()].numpy()


def text_files(folder, transposed=True, zipped=True, features=GENES):
    """Write a matrix as 10x Genomics does: genes as rows, and tab-separated names."""
    x = matrix()
    name = folder / "matrix.mtx"
    io.mmwrite(name, sparse.coo_matrix(x.T if transposed else x))
    names = {
        "features.tsv": [f"ENSG{g}\tgene{min(g, 5)}\tGene Expression" for g in range(features)],
        "barcodes.tsv": [f"AAC{c}-1" for c in range(CELLS)],
    }
    for file, lines in names.items():
        (folder / file).write_text("\n".join(lines) + "\n")
    if zipped:
        for file in ("matrix.mtx", *names):
            (folder / f"{file}.gz").write_bytes(gzip.compress((folder / file).read_bytes()))
            (folder / file).unlink()
    return folder


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
def test_text_files_of_either_orientation(tmp_path, zipped, transposed):
    read = data.counts(text_files(tmp_path, transposed, zipped))
    assert np.array_equal(whole(read), matrix().toarray())
    assert read.columns == ("gene0", "gene1", "gene2", "gene3", "gene4", "gene5", "gene5 (2)")
    first = read.rows["test"][0]
    assert read.row_names["test"][0] == f"AAC{first}-1"
    assert read.support is constraints.nonnegative_integer


def test_names_that_do_not_fit_the_matrix(tmp_path):
    with pytest.raises(ValueError, match=r"7 x 40, but features.tsv.gz names 6 genes"):
        data.counts(text_files(tmp_path, features=6))


def test_a_matrix_without_names(tmp_path):
    io.mmwrite(tmp_path / "m.mtx", sparse.coo_matrix(matrix()))
    with pytest.raises(ValueError, match=r"needs features.tsv beside it"):
        data.counts(tmp_path / "m.mtx")


def test_archives(tmp_path):
    for make in (sparse.csr_array, sparse.csc_matrix, sparse.coo_array):
        sparse.save_npz(tmp_path / "cells.npz", make(matrix()))
        read = data.counts(tmp_path / "cells.npz")
        assert read.name == "cells" and np.array_equal(whole(read), matrix().toarray())
    (tmp_path / "cells.npz").write_bytes(b"PK no archive")
    with pytest.raises(ValueError, match=r"cells.npz cannot be read"):
        data.counts(tmp_path / "cells.npz")


def test_an_archive_runs_no_code(tmp_path):
    np.savez(tmp_path / "x.npz", format=np.array([print], dtype=object), data=np.ones(3))
    with pytest.raises(ValueError, match=r"x.npz cannot be read: .* holds Python objects"):
        data.counts(tmp_path / "x.npz")


def test_frames_keep_their_names():
    frame = pandas.DataFrame(matrix().toarray(), columns=list("abcdefg"))
    read = data.counts(frame, label=["u", "v"] * (CELLS // 2), batch=np.arange(CELLS) % 3)
    assert read.columns == tuple("abcdefg") and read.label_names == ("u", "v")
    for part in ("train", "validation", "test"):
        rows = read.rows[part]
        assert torch.equal(read.labels[part], rows % 2)
        assert torch.equal(read.conditions[part][0].argmax(1), rows % 3)
        assert torch.equal(read.sizes[part], getattr(read, part).sum(1, keepdim=True))


def test_what_stays_sparse_is_what_becomes_dense():
    dense = data.counts(matrix(), sparse=False)
    rows = data.counts(matrix(), sparse=True)
    assert torch.equal(rows.train[:], dense.train) and rows.train.shape == dense.train.shape
    assert torch.equal(rows.train[torch.tensor([3, 1])], dense.train[[3, 1]])
    assert torch.equal(rows.train[-1], dense.train[-1])
    assert torch.equal(torch.cat([*rows.test.split(3)]), dense.test)
    assert torch.equal(torch.stack([*rows.test]), dense.test)
    mean, variance = rows.train.moments(np.log1p)
    expected = dense.train.double().log1p()
    assert torch.allclose(mean, expected.mean(0))
    assert torch.allclose(variance, expected.var(0, correction=0))
    loader = torch.utils.data.DataLoader(rows.train, batch_size=4)
    assert torch.equal(torch.cat([*loader]), dense.train)


def test_large_matrices_are_not_copied():
    x = sparse.eye_array(3000, 6000, dtype=np.float32, format="csr")
    read = data.counts(x)
    assert all(getattr(read, p).matrix is x for p in ("train", "validation", "test"))
    with pytest.raises(ValueError, match=r"more than half of the memory"):
        data.SparseRows(sparse.csr_array((10**7, 10**7), dtype=np.float32)).dense()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: np.log1p(x), r"not whole, such as 1\.09861: normalized .* as they were"),
        (lambda x: x - 1, r"negative values, the lowest -1"),
        (lambda x: np.where(np.arange(CELLS)[:, None] == 3, 0, x), r"1 of 40 cells .*\(3\)"),
        (lambda x: np.where(x > 3, np.nan, x), r"NaN or infinite"),
        (lambda x: x * 2**25, r"at most 16777216"),
    ],
)
def test_what_is_no_count(change, message):
    with pytest.raises(ValueError, match=message):
        data.counts(sparse.csr_array(change(matrix().toarray().astype(float))))


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"label='kind' names a column of an AnnData"):
        data.counts(matrix(), label="kind")
    with pytest.raises(ValueError, match=r"batch has 3 values; expected one for each of 40"):
        data.counts(matrix(), batch=[1, 2, 3])
    with pytest.raises(ValueError, match=r"layer is for AnnData"):
        data.counts(matrix(), layer="counts")
    with pytest.raises(TypeError, match=r"counts must be a path, a sparse matrix .* got list"):
        data.counts([[1, 2]])
    with pytest.raises(ValueError, match=r"label is missing in 1 of 40 cells"):
        data.counts(matrix(), label=["a", None, *["b"] * (CELLS - 2)])


@pytest.fixture
def annotated():
    anndata = pytest.importorskip("anndata")
    x = matrix()
    about = pandas.DataFrame(
        {
            "cell_type": pandas.Categorical(["T", "B"] * (CELLS // 2), ["T", "B", "unused"]),
            "batch": np.arange(CELLS) % 2,
            "barcode": [f"b{c}" for c in range(CELLS)],
        },
        index=[f"cell{c}" for c in range(CELLS)],
    )
    genes = pandas.DataFrame(index=[f"g{g}" for g in range(GENES)])
    logs = sparse.csr_matrix(x.astype(float))
    logs.data = np.log1p(logs.data)
    found = anndata.AnnData(logs, about, genes)
    found.layers["counts"] = sparse.csr_matrix(x)
    return found


@pytest.mark.filterwarnings("ignore:The .future.infer_string")
@pytest.mark.parametrize("in_file", [False, True])
def test_annotated_data(annotated, tmp_path, in_file):
    source = annotated
    if in_file:
        source = tmp_path / "pbmc.h5ad"
        settings = pytest.importorskip("anndata").settings
        with settings.override(allow_write_nullable_strings=True):  # as pandas 3 has text
            annotated.write_h5ad(source)
    with pytest.raises(ValueError, match=r"not whole.*'counts' may be: pass layer='counts'"):
        data.counts(source)
    with pytest.raises(ValueError, match=r"no layer 'count' \(did you mean 'counts'\?\)"):
        data.counts(source, layer="count")
    with pytest.raises(ValueError, match=r"no column 'celltype' \(did you mean 'cell_type'\?\)"):
        data.counts(source, layer="counts", label="celltype")
    read = data.counts(source, layer="counts", label="cell_type", batch="batch")
    assert np.array_equal(whole(read), matrix().toarray())
    assert read.columns[0] == "g0" and read.label_names == ("T", "B")
    assert read.row_names["train"][0] == f"cell{read.rows['train'][0]}"
    assert read.name == ("pbmc" if in_file else "counts")
    named = data.counts(source, layer="counts", id="barcode")
    assert named.row_names["train"][0] == f"b{named.rows['train'][0]}"


def test_what_an_annotated_file_lacks(tmp_path, monkeypatch):
    (tmp_path / "x.h5ad").write_bytes(b"no file of HDF5")
    monkeypatch.setitem(__import__("sys").modules, "anndata.io", None)
    with pytest.raises(ImportError, match=r"pip install 'ppvae\[counts\]'"):
        data.counts(tmp_path / "x.h5ad")
