"""Small files that stand for large contents, or for the contents of other files."""

import bz2
import gzip
import io
import lzma
import zipfile

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from ppvae import data
from ppvae.data import files
from ppvae.data.hdf5_files import check_hdf5
from ppvae.data.matrix_market import MatrixMarket
from ppvae.data.tabular.spreadsheets import check_spreadsheet

ROWS = b"1.5,2\n0.5,3\n" * 2**16
COUNTS = np.random.default_rng(0).poisson(2.0, (30, 4)) + 1


def refused(read, path, message):
    with pytest.raises(ValueError, match=message) as error:
        read(path)
    said = str(error.value)
    assert str(path) in said and "\n" not in said and len(said) < 500


@pytest.mark.parametrize(("ending", "pack"), {"bz2": bz2, "xz": lzma}.items())
def test_text_unpacks_to_no_more_than_a_file_can_be_meant_to_hold(
    ending, pack, tmp_path, monkeypatch
):
    path = tmp_path / f"x.csv.{ending}"
    path.write_bytes(pack.compress(ROWS))
    assert len(data.table(path, label=None).train) > 10_000  # a few MiB are no bomb
    monkeypatch.setattr(files, "_FEW_UNPACKED", 2**16)
    refused(data.table, path, r"cannot be read: it unpacks to more than 0 MiB; if that is right")


def test_packed_names_beside_counts_are_bounded_too(tmp_path, monkeypatch):
    scipy.io.mmwrite(tmp_path / "matrix.mtx", scipy.sparse.coo_array(COUNTS.T))
    (tmp_path / "features.tsv").write_text("".join(f"g{n}\n" for n in range(4)))
    names = gzip.compress(b"".join(b"cell%d\n" % n for n in range(30)))
    (tmp_path / "barcodes.tsv.gz").write_bytes(names)
    assert len(data.counts(tmp_path).train) == 24
    monkeypatch.setattr(files, "REFLATION", 0)
    monkeypatch.setattr(files, "_FEW_UNPACKED", 100)
    with pytest.raises(ValueError, match=r"barcodes.tsv.gz cannot be read: it unpacks to more"):
        data.counts(tmp_path)


MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def sheet(rows, head=""):
    of = f'<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>'
    return f'<?xml version="1.0"?>{head}{of}'


FAR = (
    '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>2</v></c></row>'
)
SHEETS = {
    "a cell far out": (sheet(FAR), r"spans 1048576 rows and 16384 columns, of which 2 cells are"),
    "a prefix": (
        sheet(FAR).replace("<", "<a:").replace("<a:/", "</a:").replace("<a:?", "<?"),
        "spans",
    ),
    "a row far out": (
        sheet('<row r="1"><c r="XFD1"/></row><row r="1000000"/>'),
        r"spans 1000000 rows and 16384 columns",
    ),
    "a row beyond any sheet": (
        sheet('<row r="1"><c r="A1"/></row><row r="10000000000000"><c/></row>'),
        r"spans 10000000000000 rows and 1 columns",
    ),
    "entities": (
        sheet("<row><c><v>&a;</v></c></row>", '<!DOCTYPE x [<!ENTITY a "ha">]>'),
        r"it defines the document type 'x'",
    ),
}


def spreadsheet(path, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", content)
        archive.writestr("xl/media/picture.png", b"\x89PNG")
    return path


@pytest.mark.parametrize(("content", "message"), SHEETS.values(), ids=SHEETS.keys())
def test_a_spreadsheet_that_would_take_hours(content, message, tmp_path):
    refused(check_spreadsheet, spreadsheet(tmp_path / "x.xlsx", content), message)


def test_spreadsheets_as_they_are(tmp_path):
    rows = "".join(f"<row><c/><c/><c r='C{n}'/></row>" for n in range(1, 100))
    assert check_spreadsheet(spreadsheet(tmp_path / "x.xlsx", sheet(rows))) is None
    content = spreadsheet(tmp_path / "x.xlsx", sheet(rows)).read_bytes()
    place = content.index(b"PK\x01\x02") + 24
    (tmp_path / "x.xlsx").write_bytes(content[:place] + b"\xff\xff\xff\x7f" + content[place + 4 :])
    refused(check_spreadsheet, tmp_path / "x.xlsx", "cannot have the size that it states")


def test_a_parquet_file_of_more_cells_than_it_can_hold(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    import pandas

    from ppvae.data.tabular import frames

    path = tmp_path / "x.parquet"
    pandas.DataFrame({"a": np.zeros(10**6), "b": np.arange(10**6) % 3}).to_parquet(path)
    assert len(data.table(path, label="b", types={"a": "real"}).train) > 1
    monkeypatch.setattr(frames, "_SMALL", 0)
    monkeypatch.setattr(frames, "REFLATION", 100)
    refused(data.table, path, r"it cannot hold the 2000000 cells that it states")


def test_hdf5_files_that_read_others(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(80))
    with h5py.File(tmp_path / "inner.h5", "w") as file:
        file["x"] = np.arange(10.0)

    def linked(file):
        file["group/x"] = h5py.ExternalLink(str(tmp_path / "inner.h5"), "x")

    def raw(file):
        file.create_dataset("x", (10,), "f8", external=[(str(secret), 0, 80)])

    def virtual(file):
        layout = h5py.VirtualLayout((10,), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "inner.h5"), "x", (10,))
        file.create_virtual_dataset("x", layout)

    def unwritten(file):
        file.create_dataset("x", (10**9,), "f8", chunks=(1000,))

    messages = {
        linked: r"'x' in it is a link to another file, '.*inner.h5'",
        raw: r"'/x' in it holds the values of another file",
        virtual: r"'/x' in it holds the values of another file",
        unwritten: r"it cannot hold the 8000000000 bytes of values that it states",
    }
    for write, message in messages.items():
        with h5py.File(tmp_path / "x.h5", "w") as file:
            write(file)
        refused(check_hdf5, tmp_path / "x.h5", message)


def test_hdf5_files_that_are_read(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a/b"] = np.arange(10.0)
        file["a/again"] = file["a"]  # a circle
        file["a/soft"] = h5py.SoftLink("/nowhere")
        file["text"] = ["one", "two"]
        file["nothing"] = h5py.Empty("f8")
        file["type"] = np.dtype("f8")
        file["zeros"] = file.create_dataset("z", data=np.zeros(10**5), compression="gzip")
    assert check_hdf5(tmp_path / "x.h5") is None
    (tmp_path / "x.h5").write_bytes(b"no HDF5")
    refused(check_hdf5, tmp_path / "x.h5", "cannot be read")


def broken(**parts):
    """Return a sparse matrix of SciPy as a file, with other parts than it had."""
    file = io.BytesIO()
    scipy.sparse.save_npz(file, scipy.sparse.csr_array(COUNTS), compressed=False)
    held = dict(np.load(io.BytesIO(file.getvalue())))
    held |= {name: change(held[name]) for name, change in parts.items()}
    file = io.BytesIO()
    np.savez(file, **held)
    return file.getvalue()


def with_one(value):
    def change(array):
        array = array.copy()
        array[5] = value
        return array

    return change


MATRICES = {
    "a column outside": ({"indices": with_one(10**6)}, "indices must be < 4"),
    "a negative column": ({"indices": with_one(-1)}, "indices must be >= 0"),
    "rows that fall": ({"indptr": with_one(10**6)}, "index pointer falls"),
    "very many columns": ({"shape": lambda _: np.array([30, 10**12])}, r"has the shape \(30, 10"),
    "very many rows": (
        {"shape": lambda _: np.array([10**12, 4]), "format": lambda _: np.array(b"coo")}
        | dict.fromkeys(("indices", "indptr"), lambda _: np.zeros(1, int)),
        "x.npz",
    ),
    "objects": (
        {"data": lambda values: np.array([{}] * len(values), dtype=object)},
        "'data.npy' holds Python objects, which are not loaded",
    ),
}


@pytest.mark.parametrize(("parts", "message"), MATRICES.values(), ids=MATRICES.keys())
def test_sparse_matrices_whose_places_lie_outside(parts, message, tmp_path):
    (tmp_path / "x.npz").write_bytes(broken())
    assert len(data.counts(tmp_path / "x.npz").train) == 24
    (tmp_path / "x.npz").write_bytes(broken(**parts))
    refused(data.counts, tmp_path / "x.npz", message)


HEAD = "%%MatrixMarket matrix coordinate integer general\n%\n"
TEXTS = {
    "a value too few": (HEAD + "2 2 3\n1 1 1\n2 2 1\n", "it has 2 values where it states 3"),
    "two values in a line": (HEAD + "2 2 2\n1 1 1 1 2 1\n2 2 1\n", "cannot be read"),
    "a value outside": (HEAD + "2 2 2\n1 1 1\n3 1 1\n", "a value outside of its 2 x 2"),
    "row 0": (HEAD + "2 2 2\n0 1 1\n2 2 1\n", "a value outside of its 2 x 2"),
    "a byte 0": (HEAD + "2 2 2\n1 1 1\0001 2 1\n2 2 1\n", "cannot be read"),
    "very many values": (HEAD + "2 2 1000000000000\n1 1 1\n", "cannot hold the 1000000000000"),
    "another kind": (HEAD.replace("general", "symmetric") + "2 2 1\n1 1 1\n", "it is of the kind"),
    "no header": ("2 2 1\n1 1 1\n", "it does not begin with"),
    "a size that is no number": (HEAD + "2 two 1\n1 1 1\n", "invalid literal"),
}


@pytest.mark.parametrize(("text", "message"), TEXTS.values(), ids=TEXTS.keys())
def test_matrix_market_files_that_are_damaged(text, message, tmp_path):
    (tmp_path / "matrix.mtx").write_text(text)
    for name in ("features.tsv", "barcodes.tsv"):
        (tmp_path / name).write_text("a\nb\n")
    with pytest.raises(ValueError, match=rf"matrix.mtx .*{message}"):
        data.counts(tmp_path)


@pytest.mark.parametrize("kind", [np.int64, np.float64])
def test_matrix_market_files_are_read_as_scipy_does(kind, tmp_path):
    counts = COUNTS * (np.arange(4) > 0)
    for matrix in (counts.astype(kind), scipy.sparse.coo_array(counts.astype(kind))):
        scipy.io.mmwrite(tmp_path / "matrix.mtx", matrix)
        read = MatrixMarket.of(tmp_path / "matrix.mtx").read()
        assert np.array_equal(read.toarray(), counts)
    text = (tmp_path / "matrix.mtx").read_text().replace("integer", "pattern")
    lines = [line.rpartition(" ")[0] if n > 2 else line for n, line in enumerate(text.split("\n"))]
    if kind is np.int64:
        (tmp_path / "matrix.mtx").write_text("\n".join(lines))
        read = MatrixMarket.of(tmp_path / "matrix.mtx").read()
        assert np.array_equal(read.toarray(), counts > 0)
