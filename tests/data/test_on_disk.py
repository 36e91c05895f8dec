"""Rows on disk are those of the same array in memory, and a bad file is named."""

import numpy as np
import pytest
import torch
from torch.distributions import constraints

from ppvae import data
from ppvae.data.parquet_shards import LastGroup, ParquetFile
from ppvae.data.row_pieces import RowPieces

RANDOM = np.random.default_rng(0)
ARRAYS = {
    "pixels": RANDOM.integers(0, 256, (60, 4, 3), dtype=np.uint8),
    "channels last": RANDOM.integers(0, 256, (60, 6, 5, 3), dtype=np.uint8),
    "binary": RANDOM.integers(0, 2, (60, 5)).astype(bool),
    "levels": RANDOM.integers(0, 4, (60, 5)),
    "counts": RANDOM.poisson(40, (60, 2, 3)).astype(np.uint16),
    "shares": RANDOM.random((60, 2, 3), dtype=np.float32),
    "real": RANDOM.normal(size=(60, 5)),
    "of the other byte order": RANDOM.normal(size=(60, 5)).astype(">f4"),
    "columns of two kinds": np.stack([RANDOM.normal(size=60), np.arange(60) % 2], axis=1),
    "one number": RANDOM.normal(size=60).astype(np.float16),
}
SPLITS = ("train", "validation", "test")


def saved(folder, values, name="x.npy"):
    folder.mkdir(exist_ok=True)
    np.save(folder / name, values)
    return folder / name


@pytest.mark.parametrize("values", ARRAYS.values(), ids=ARRAYS.keys())
def test_a_file_has_the_values_and_the_support_that_it_has_in_memory(values, tmp_path):
    path = saved(tmp_path, values)
    disk, memory = (read(path, shuffle=False) for read in (data.on_disk, data.array))
    for part in SPLITS:
        rows, expected = getattr(disk, part), getattr(memory, part)
        assert torch.equal(rows[:], expected) and rows.shape == expected.shape
        assert torch.equal(disk.row_numbers(part), memory.row_numbers(part))
        assert rows.dtype == expected.dtype
    assert repr(disk).splitlines()[1:4] == repr(memory).splitlines()[1:4]  # support, shape
    assert disk.image_shape == memory.image_shape


def test_some_rows_are_those_of_a_tensor(tmp_path):
    disk = data.on_disk(saved(tmp_path, np.arange(180.0).reshape(60, 3)), seed=3)
    rows, tensor = disk.train, disk.train[:]
    assert torch.equal(tensor[:, 0].long(), 3 * disk.row_numbers("train"))
    index = torch.tensor([5, -1, 5, 0, 1, 2])
    few = rows.rows(index)
    for one, other in (
        (rows[7], tensor[7]),
        (rows[-2], tensor[-2]),
        (rows[3:50:7], tensor[3:50:7]),
        (rows[index], tensor[index]),
        (rows[tensor[:, 0] > 60], tensor[tensor[:, 0] > 60]),
        (torch.stack([*rows]), tensor),
        (torch.cat([*rows.split(7)]), tensor),
        (few[:], tensor[index]),
        (few.rows(slice(1, 3))[:], tensor[index][1:3]),
        (rows.rows(slice(0))[:], tensor[:0]),
        (rows.mapped(lambda x: x[:, :2].double())[4:6], tensor[4:6, :2].double()),
        (torch.as_tensor(np.asarray(rows)), tensor),
    ):
        assert torch.equal(one, other)
    with pytest.raises(IndexError):
        rows[len(rows)]


def test_every_row_is_in_one_split_and_the_seed_decides(tmp_path):
    path = saved(tmp_path, np.zeros((3000, 2), np.float32))
    splits = []
    for seed in (0, 0, 1):
        disk = data.on_disk(path, test=0.2, seed=seed)
        splits.append([disk.row_numbers(part) for part in SPLITS])
        assert [len(each) for each in splits[-1]] == [2100, 300, 600]
        assert torch.equal(torch.cat(splits[-1]).sort().values, torch.arange(3000))
    assert torch.equal(splits[0][2], splits[1][2]) and not torch.equal(splits[0][2], splits[2][2])
    runs = len(RowPieces.of_numbers(splits[0][2].numpy()).bounds)
    assert runs > 64 * 0.8  # spread over the file; neighbors among the runs are joined
    held = data.on_disk(path, held_out=7)
    assert (len(held.validation), len(held.test), len(held.train)) == (7, 7, 2986)


@pytest.mark.parametrize("ending", [".npy", ".parquet"])
def test_a_folder_is_one_array(ending, tmp_path):
    x = np.arange(120, dtype=np.float32).reshape(40, 3)
    folder = tmp_path / "x"
    for start, stop in ((0, 11), (11, 12), (12, 40)):
        folder.mkdir(exist_ok=True)
        path = folder / f"part-{start:02}{ending}"
        if ending == ".npy":
            np.save(path, x[start:stop])
        else:
            parquet = pytest.importorskip("pyarrow.parquet")
            import pyarrow

            table = pyarrow.table({name: x[start:stop, n] for n, name in enumerate("abc")})
            parquet.write_table(table, path, row_group_size=5)
    disk = data.on_disk(folder, shuffle=False)
    whole = torch.cat([getattr(disk, part)[:] for part in SPLITS])
    assert torch.equal(whole, torch.from_numpy(x))
    blocks = disk.train.rows(slice(3, 30)).blocks().tolist()
    assert blocks == ([0, 8, 9, 27] if ending == ".npy" else [0, 2, 7, 8, 9, 14, 19, 24, 27])
    by_name = data.on_disk(folder, validation="part-11*", test=0.2)
    assert torch.equal(by_name.validation[:], torch.from_numpy(x[11:12]))
    assert (len(by_name.test), len(by_name.train)) == (7, 32)
    for pattern, message in (("none-*", "fits none of the 3 files"), ("*", "0 rows cannot")):
        with pytest.raises(ValueError, match=message):
            data.on_disk(folder, validation=pattern)
    with pytest.raises(
        ValueError, match=r"part-00\S+ fits validation='part-0\*' and test='part-0"
    ):
        data.on_disk(folder, validation="part-0*", test="part-0*")


def truncated(folder):
    path = saved(folder, np.ones((50, 3)))
    path.write_bytes(path.read_bytes()[:-8])
    return path


def of_two_shapes(folder):
    saved(folder, np.ones((50, 3)), "a.npy")
    saved(folder, np.ones((50, 4)), "b.npy")
    return folder


def of_two_types(folder):
    saved(folder, np.ones((50, 3)), "a.npy")
    saved(folder, np.ones((50, 3), np.float32), "b.npy")
    return folder


def linked(folder):
    saved(folder, np.ones((50, 3)), "a.npy")
    inside = folder / "inside"
    inside.mkdir()
    (inside / "b.npy").symlink_to(folder / "a.npy")
    return inside


def holed(folder):
    x = np.ones((50, 3))
    x[17, 1] = np.nan
    return saved(folder, x)


REFUSED = {
    "truncated": (truncated, {}, r"x\.npy cannot be read: it has 1320 bytes"),
    "objects": (
        lambda folder: saved(folder, np.array([{}, {}], dtype=object)),
        {},
        r"x\.npy cannot be read: it holds Python objects, which are not loaded",
    ),
    "text": (lambda folder: saved(folder, np.array(["a"] * 9)), {}, "type <U1; expected numbers"),
    "by columns": (
        lambda folder: saved(folder, np.asfortranarray(np.ones((50, 3)))),
        {},
        r"x\.npy is stored column by column, .* np\.ascontiguousarray",
    ),
    "two shapes": (of_two_shapes, {}, r"b\.npy has rows of shape \(4,\) .*a\.npy of .* \(3,\)"),
    "two types": (of_two_types, {}, r"b\.npy .* type float32, and .*a\.npy .* type float64"),
    "a link": (linked, {}, r"b\.npy is a link out of the folder"),
    "an empty folder": (lambda folder: folder, {}, r"holds no file that ends in \.npy or \.parqu"),
    "NaN": (holed, {}, r"x\.npy: row 17 holds the value nan; remove or impute it"),
    "a pattern": (holed, {"test": "t*"}, r"test='t\*' is a pattern .* is a file; pass a fraction"),
    "few rows": (lambda folder: saved(folder, np.ones((5, 3))), {}, "5 rows cannot be split"),
    "a block": (holed, {"block": 100, "buffer": 64}, "64 bytes, and half of it holds no block"),
    "no sample": (holed, {"sampled": 0}, "sampled must be at least 1 row"),
}


@pytest.mark.parametrize(("make", "options", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_read_is_named(make, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        data.on_disk(make(tmp_path), **options)


def test_values_outside_the_support_of_the_sample_are_refused_where_they_are(tmp_path):
    x = np.zeros((2000, 2), np.uint8)
    x[::2] = 1
    x[777, 1] = 9
    path = saved(tmp_path, x)
    disk = data.on_disk(path, sampled=100, shuffle=False)
    assert "from 64 of 1,600 training rows" in disk.notes[0]
    with pytest.raises(ValueError, match=r"x\.npy: row 777 holds the value 9, .* Boolean .*=None"):
        disk.train[700:800]
    every = data.on_disk(path, sampled=None, shuffle=False)
    assert every.train[777].tolist() == [0, 9] and not every.notes


def test_a_file_that_was_cut_since_it_was_opened_is_refused(tmp_path):
    path = saved(tmp_path, np.ones((50, 3), np.float32))
    disk = data.on_disk(path, shuffle=False)
    with path.open("r+b") as file:
        file.truncate(128 + 30 * 12 + 4)
    assert torch.equal(disk.train[:30], torch.ones(30, 3))
    with pytest.raises(ValueError, match=r"x\.npy cannot be read: it ends within row 30"):
        disk.train[:]


def test_a_sample_of_a_dataset_keeps_what_belongs_to_its_rows(tmp_path):
    x = np.arange(180.0).reshape(60, 3)
    disk = data.on_disk(saved(tmp_path, x)).sampled(4)
    assert isinstance(disk.train, torch.Tensor)
    assert [len(getattr(disk, part)) for part in SPLITS] == [4, 4, 4]
    assert torch.equal(disk.train, torch.from_numpy(x[disk.row_numbers("train")]))
    classes = torch.arange(60) % 4
    values = torch.stack([classes, torch.arange(60)], 1).double()
    few = (
        data.split("x", values, constraints.real, labels=classes).conditional().sampled(5, seed=1)
    )
    rows, given = few.batch("test")
    assert torch.equal(given.argmax(1), few.labels["test"])
    assert torch.equal(rows, values[few.row_numbers("test")])


def test_parquet_files_that_are_no_numbers_are_named(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    def written(**columns):
        parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet", row_group_size=10)
        return tmp_path / "x.parquet"

    lists = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(np.arange(90, dtype="u1")), 3)
    rows = data.on_disk(written(pixels=lists), shuffle=False)
    assert torch.equal(rows.train[:2], torch.arange(6.0).reshape(2, 3))
    with pytest.raises(ValueError, match=r"x\.parquet: the column 'b' is of type string"):
        data.on_disk(written(a=[1.0] * 30, b=["x"] * 30))
    holed = [1.0] * 30
    holed[14] = None
    with pytest.raises(ValueError, match=r"x\.parquet .*row 14 has no value in the column 'b'"):
        data.on_disk(written(a=[1.0] * 30, b=holed))
    short = ParquetFile(written(a=[1.0] * 30), LastGroup())
    short._starts = np.array([0, 10, 20, 37])  # as a damaged file may state
    with pytest.raises(ValueError, match=r"the column 'a' has 10 rows where the file states 17"):
        short.read(20, np.empty((17, 1)))
    (tmp_path / "y.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(ValueError, match=r"y\.parquet cannot be read"):
        data.on_disk(tmp_path / "y.parquet")
