"""Files of any content: a dataset, or one sentence that names the file."""

import gzip
import struct
import zipfile

import numpy as np
import pytest
import torch

from benchmarks.fuzz.arrays import archive as npz
from benchmarks.fuzz.arrays import of_npy as npy
from ppvae import data
from ppvae.data.idx import read_idx

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
PIXELS = np.random.default_rng(0).integers(0, 256, (30, 4, 4), dtype=np.uint8)


def header(descr="'<f4'", shape="(40, 3)", order="False", body=None, version=1):
    body = X.tobytes() if body is None else body
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    sizes = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + sizes + text.encode("latin1") + body


def patched(content, signature, offset, value):
    """Change a field of a zip archive's headers."""
    content, start = bytearray(content), content.index(signature)
    content[start + offset : start + offset + len(value)] = value
    return bytes(content)


def idx(values=PIXELS):
    sizes = struct.pack(f">{values.ndim}I", *values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()


def csv(rows=None, head="a,b,c"):
    rows = X.tolist() if rows is None else rows
    return "\n".join([head, *(",".join(map(str, row)) for row in rows)]).encode()


PLAIN, CENTRAL = npz(zipfile.ZIP_STORED, data=npy(X)), b"PK\x01\x02"
HUGE = struct.pack("<I", 2**31)
NUMBERS = "\n".join(f"{n},{n + 0.5}" for n in range(30))
WORST = {
    "72 TiB": ("x.npz", npz(data=header(shape="(4398046511104, 5)")), "asks for 8796"),
    "shape beyond 64 bits": ("x.npz", npz(data=header(shape=f"({2**70}, {2**70})")), "asks for"),
    "npy beyond 64 bits": ("x.npy", header(shape=f"({2**70},)"), "header asks for"),
    "negative size": ("x.npy", header(shape="(-40, -3)"), "the shape (-40, -3)"),
    "size that is no number": ("x.npy", header(shape="('a', 3)"), "cannot be read"),
    "fewer values than stated": ("x.npy", header(shape="(41, 3)"), "608 bytes where"),
    "more values than stated": ("x.npy", header(shape="(39, 3)"), "608 bytes where"),
    "too many dimensions": ("x.npy", header(shape=str((40, 3) + (1,) * 80)), "cannot be read"),
    "header of another version": ("x.npy", header().replace(b"Y\x01", b"Y\x09", 1), "version"),
    "header that nests": ("x.npy", header(shape="(" * 60 + ")" * 60), "x.npy"),
    "header in another language": ("x.npy", header(descr="open('x')"), "cannot be read"),
    "type without a name": ("x.npy", header(descr="'<q9'"), "cannot be read"),
    "records": ("x.npy", npy(np.zeros(9, [("a", "f4")])), "holds values of type"),
    "values of three": ("x.npy", header(descr="'(3,)<f4'", shape="(40,)"), "x.npy"),
    "times": ("x.npy", npy(np.zeros(9, "M8[s]")), "type datetime64[s]; expected numbers"),
    "empty values": ("x.npy", header(descr="'V0'", body=b""), "values of type |V0"),
    "no rows": ("x.npz", npz(data=npy(np.zeros((0, 3)))), "array of shape (0, 3)"),
    "no rows of many": ("x.npy", header(shape=f"(0, {2**62})", body=b""), "shape (0, 46"),
    "one number": ("x.npz", npz(data=npy(np.array(3.0))), "array of shape ()"),
    "text": ("x.npz", npz(data=npy(np.array(["a"] * 20))), "values of type <U1; expected"),
    "objects": (
        "x.npz",
        npz(data=npy(np.array([{}] * 20, object), allow_pickle=True)),
        "Python objects, which are not loaded",
    ),
    "long header": (
        "x.npy",
        b"\x93NUMPY\x02\x00" + (2**32 - 1).to_bytes(4, "little") + b"{",
        "states a length of 4294967295 bytes",
    ),
    "LZMA": ("x.npz", npz(zipfile.ZIP_LZMA, data=npy(X)), "never does"),
    "bzip2": ("x.npz", npz(zipfile.ZIP_BZIP2, data=npy(X)), "never does"),
    "another compression": ("x.npz", patched(PLAIN, CENTRAL, 10, b"\x63\0"), "never does"),
    "encrypted": ("x.npz", patched(PLAIN, CENTRAL, 8, b"\x01\0"), "'data.npy' in it is encrypted"),
    "of a later version": ("x.npz", patched(PLAIN, CENTRAL, 6, b"\xff\0"), "cannot be read"),
    "an impossible ratio": (
        "x.npz",
        patched(npz(data=header(shape="(178956960, 3)")), CENTRAL, 24, HUGE),
        "cannot have the size that it states",
    ),
    "values changed": ("x.npz", patched(PLAIN, X[5].tobytes(), 0, b"\x01\x02"), "cannot be read"),
    "cut off": ("x.npz", npz(data=npy(X))[:-9], "cannot be read"),
    "a mask beside the data": ("x.npz", npz(data=npy(X), mask=npy(X > 0)), "['data', 'mask']"),
    "sparse": (
        "x.npz",
        npz(**dict.fromkeys(("data", "indices", "indptr", "shape"), npy(X))),
        "holds a sparse matrix; save a dense one",
    ),
    "bytes 0": ("x.csv", b"a,b\n" + b"1,2\x00\n" * 30, "it holds bytes 0"),
    "UTF-16": ("x.csv", NUMBERS.encode("utf-16"), "in UTF-16; save it as UTF-8"),
    "Latin-1": ("x.csv", "größe,b\n1,2\n".encode("latin1") * 9, "it is not in UTF-8"),
    "a long field": ("x.csv", b"a,b\n" + b"1" * 200_000 + b",2\n", "cannot be read: field larger"),
    "no end of quotes": ("x.csv", b'a,b\n"1,2\n' * 9, "x.csv"),
    "underscores": ("x.csv", b"a,b\n" + b"1_0,2\n" * 20, "column 'a' holds text such as '1_0'"),
    "more digits than a number": ("x.csv", b"a,b\n" + b"9" * 400 + b",2\n" * 20, "x.csv"),
    "beyond 32 bits": ("x.csv", b"a,b\n" + b"1e39,2\n" * 20, "column 'a' differ by too little"),
    "a spread beyond 64 bits": ("x.npy", npy(X.astype(">f8") * 1e200), "differ by too little"),
    "differences beyond 32 bits": (
        "x.csv",
        "\n".join(["a", *(f"{1e9 + n}" for n in range(30))]).encode(),
        "column 'a' differ by too little",
    ),
    "times in seconds": (
        "x.npy",
        npy(np.arange(1_700_000_000, 1_700_000_040)),
        "column '0' differ by too little",
    ),
    "fewer names": ("x.csv", b"a,b\n" + b"1,2,3\n" * 20, "its row 2 has 3 field(s) where"),
    "more names": ("x.csv", b"a,b,c\n" + b"1,2\n" * 20, "its row 2 has 2 field(s) where"),
    "semicolons": ("x.csv", b"a;b\n" + b"5,1;3,5\n" * 20, "its columns by ';'; expected commas"),
    "semicolons alone": ("x.csv", b"5,1;3,5;1,4\n" * 20, "separate the columns by commas"),
    "tabs": ("x.csv", b"a\tb\n" + b"5.1\t3.5\n" * 20, "its columns by tabs; expected commas"),
    "spaces": ("x.csv", b"5.1 3.5\n" * 20, "its columns by spaces; expected commas"),
    "decimal commas": ("x.csv", b'a,b\n"5,1","3,5"\n' * 20, "write decimal points"),
    "names or a datapoint": ("x.csv", b"1,2,3\n" + b"4,1,2\n2,0,3\n" * 20, "may be names of col"),
    "two names or a datapoint": ("x.csv", b"0,1\n" + b"4,1\n2,0\n" * 20, "may be names of col"),
    "a year or a datapoint": ("x.csv", b"2020\n" + b"4\n2\n" * 20, "may be names of col"),
    "one byte": ("x.csv", b"\xff", "x.csv"),
    "two columns of one name": ("x.csv", b"a,a\n" + b"1,2\n" * 20, "2 columns 'a'; give each"),
    "IDX of 2^96 bytes": (
        "x.idx",
        b"\0\0\x08\x03" + b"\xff" * 12,
        "bytes where its header",
    ),
    "IDX of no images": ("x.idx", idx(PIXELS[:0]), "holds nothing"),
    "gzip of 4 GiB": (
        "x.idx",
        gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 2**20, 64, 64)),
        "bytes where its header",
    ),
    "gzip that goes on": ("x.idx", gzip.compress(idx() + bytes(10**6)), "it has more bytes"),
}


def read(path):
    if path.suffix == ".idx":
        return read_idx(path, dimensions=3)
    return data.array(path, label="a" if b"\na,a\n" in b"\n" + path.read_bytes()[:9] else None)


@pytest.mark.parametrize(("name", "content", "message"), WORST.values(), ids=WORST.keys())
def test_worst_files_are_one_sentence(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as error:
        read(tmp_path / name)
    said = str(error.value)
    assert message in said and str(tmp_path / name) in said and "\n" not in said


COUNTS = np.random.default_rng(0).poisson(3.0, (40, 5))
COUNTED = [[n, *row] for n, row in enumerate(X.tolist())]
NAMED = [[f'"g{n}"', *row] for n, row in enumerate(X.tolist())]
COLUMNS = [f"{n},{n / 7},{n % 3 + 0.5}" for n in range(1, 41)]
GOOD = {
    "big endian": (npy(X.astype(">f4")), ".npy", 40, 3),
    "columns first": (npy(np.asfortranarray(X)), ".npy", 40, 3),
    "half": (npy(X.astype(np.float16)), ".npy", 40, 3),
    "long": (npy(X.astype(np.longdouble)), ".npz", 40, 3),
    "version 2": (header(version=2), ".npy", 40, 3),
    "signature of UTF-8": (b"\xef\xbb\xbf" + csv(), ".csv", 40, 3),
    "lines of Windows": (csv().replace(b"\n", b"\r\n"), ".csv", 40, 3),
    "quotes": (csv(head='"a, in cm","b ""x""",c'), ".csv", 40, 3),
    "quoted numbers": (b'a,b\n"1","2.5"\n' * 1 + b'"3","0.5"\n' * 40, ".csv", 41, 2),
    "blank lines": (b"\n" + csv().replace(b"\n", b"\n\n"), ".csv", 40, 3),
    "truths": (b"a,b\n" + b"True,0.5\nFalse,0.25\n" * 20, ".csv", 40, 2),
    "row names of pandas": (csv(COUNTED, ",a,b,c"), ".csv", 40, 3),
    "row names of R": (csv(NAMED, '"","a","b","c"'), ".csv", 40, 3),
    "row names, saved again": (csv(COUNTED, "Unnamed: 0,a,b,c"), ".csv", 40, 3),
    "row names without a header": ("\n".join(COLUMNS).encode(), ".csv", 40, 2),
    "years": (csv(head="2019,2020,2021"), ".csv", 40, 3),
    "years with gaps": (csv(head="2019,2021,2024"), ".csv", 40, 3),
    "years and row names": (csv(COUNTED, ",2019,2020,2024"), ".csv", 40, 3),
    "numbers of columns": (csv(head="0,1,2"), ".csv", 40, 3),
    "wavelengths": (csv(head="400.5,401.0,401.5"), ".csv", 40, 3),
    "number of a column": (csv([[0.5 + n] for n in range(40)], "0"), ".csv", 40, 1),
    "numbers of counts": (csv(COUNTS, "0,1,2,3,4"), ".csv", 40, 5),
    "years of counts": (csv(COUNTS[:, :3], "2019,2020,2021"), ".csv", 40, 3),
    "no header": (csv(head="0.25,0.5,-1.25"), ".csv", 41, 3),
    "no header, whole": (csv(np.arange(80).reshape(40, 2) % 7, "3,5"), ".csv", 41, 2),
    "bits": (csv(np.arange(80).reshape(40, 2) % 2, "0,1"), ".csv", 41, 2),
    "time": (csv([[n / 8, n / 4] for n in range(1, 41)], "0.0,0.25"), ".csv", 41, 2),
}


@pytest.mark.parametrize(("content", "suffix", "rows", "features"), GOOD.values(), ids=GOOD.keys())
def test_every_way_to_write_a_table_is_read(content, suffix, rows, features, tmp_path):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(npz(data=content) if suffix == ".npz" else content)
    dataset = data.array(path)
    found = sum(len(part) for part in (dataset.train, dataset.validation, dataset.test))
    assert (found, *dataset.event_shape) == (rows, features)


def test_copies_and_columns_that_do_not_vary_are_said(tmp_path):
    rows = [[*row, 7.5] for row in X[:20].tolist()] * 10
    (tmp_path / "x.csv").write_bytes(csv(rows, "a,b,c,d"))
    constant, copies = data.array(tmp_path / "x.csv").notes
    assert "1 column(s) have one value in all training data: d; " in constant
    assert "20 of 20 test rows are copies of training rows" in copies


def test_what_was_decided_about_a_table_is_said(tmp_path, caplog):
    (tmp_path / "x.csv").write_bytes(csv(COUNTED, ",2019,2020,2021"))
    dataset = data.array(tmp_path / "x.csv")
    said = [record.getMessage() for record in caplog.records]
    assert tuple(said) == dataset.notes and len(said) == 2
    assert "its first row, , 2019, 2020, 2021, was taken as the names" in said[0]
    assert "names the rows, as pandas writes it, and was left out" in said[1]
    assert dataset.columns == ("2019", "2020", "2021")


SEEDS = {
    "npy": ("x.npy", npy(X)),
    "npz": ("x.npz", npz(data=npy(X), labels=npy(np.arange(40) % 4))),
    "csv": ("x.csv", csv(X.round(3).tolist())),
    "idx": ("x.idx", idx()),
    "idx.gz": ("x.idx", gzip.compress(idx(), mtime=0)),
}
PIECES = [b"", b"\0", b"\xff" * 8, b"-1", b"1e999", b'"', b",", b";", b"\n", b"PK\x01\x02"]
PIECES += [b"9" * 20, b"'O'", b"(0,)", b"nan", b"\xef\xbb\xbf", b"\r", b"True", b"1_0", b"\x1f"]


def mutated(content, random):
    """Change, cut, repeat or insert a few pieces of a file."""
    content = bytearray(content)
    for _ in range(random.integers(1, 5)):
        start = int(random.integers(len(content) + 1))
        if random.random() < 0.5:  # most of a format is at the ends
            start = min(start % 130, len(content)) if random.random() < 0.7 else -start % 200
        stop = start + int(random.integers(1, 9))
        kind = random.integers(6)
        if kind == 0:
            content[start:stop] = random.bytes(len(content[start:stop]))
        elif kind == 1:
            content[start:start] = PIECES[random.integers(len(PIECES))]
        elif kind == 2:
            content[start:stop] = PIECES[random.integers(len(PIECES))]
        elif kind == 3 and random.random() < 0.3:
            del content[start:]
        elif kind == 4:
            content[start:start] = content[-40:]
        elif len(content) > start:
            content[start] ^= 1 << int(random.integers(8))
    return bytes(content)


def outcome(path):
    """Return the sentence that refuses a file, or "" for what can be trained on."""
    try:
        found = read(path)
    except (ValueError, OSError) as error:
        said = str(error)
        assert "\n" not in said and path.name[:1] in said and len(said) < 900, said
        assert str(path) in said or f"dataset '{path.stem}'" in said, said
        return said
    if not isinstance(found, torch.Tensor):
        assert bool(found.train.isfinite().all()) and bool(found.support.check(found.test).all())
    return ""


def fuzz(kind, count, folder):
    name, content = SEEDS[kind]
    random, refused = np.random.default_rng(7), 0
    for _ in range(count):
        (folder / name).unlink(missing_ok=True)  # a file that is mapped stays as it is
        (folder / name).write_bytes(mutated(content, random))
        refused += bool(outcome(folder / name))
    return refused


@pytest.mark.parametrize("kind", SEEDS)
def test_any_content_is_data_or_a_sentence(kind, tmp_path):
    assert 0 < fuzz(kind, 60, tmp_path)


def test_rows_that_are_shorter_than_a_first_one_with_a_number(tmp_path):
    rows = [f"{n / 7:.3f},{n % 5},{n * 3}" for n in range(40)]
    (tmp_path / "x.csv").write_text("\n".join(["size,0.5,name", "1.5,2", *rows]))
    found = data.table(tmp_path / "x.csv")
    assert len(found.columns) == 3
    assert "1 row(s) have fewer fields" in " ".join(found.notes)
