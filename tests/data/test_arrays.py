"""Arrays and tables on disk, whole and damaged."""

import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from torch.distributions import constraints

from ppvae import data

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
LABELS = np.arange(40) % 4


def rows_of(dataset):
    return torch.cat([dataset.train, dataset.validation, dataset.test])


def sorted_rows(values):
    return sorted(map(tuple, np.asarray(values).reshape(len(values), -1).tolist()))


def save(path, kind):
    if kind == "npy":
        np.save(path, X)
    elif kind == "npz":
        np.savez(path, data=X, labels=LABELS)
    elif kind == "compressed npz":
        np.savez_compressed(path, values=X, labels=LABELS)
    else:
        header = "a,b,c,kind\n" if kind == "csv with header" else ""
        lines = "".join(
            ",".join(map(str, row)) + f",class {label}\n"
            for row, label in zip(X.tolist(), LABELS, strict=True)
        )
        path.write_text(header + lines)


KINDS = {
    "npy": (".npy", {}),
    "npz": (".npz", {}),
    "compressed npz": (".npz", {}),
    "csv with header": (".csv", {"label": "kind"}),
    "csv without header": (".csv", {"label": "3"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_is_there_once_with_its_label(kind, tmp_path):
    suffix, options = KINDS[kind]
    save(tmp_path / f"measured{suffix}", kind)
    dataset = data.array(tmp_path / f"measured{suffix}", **options)
    assert dataset.name == "measured" and dataset.support is constraints.real
    assert [len(dataset.train), len(dataset.validation), len(dataset.test)] == [32, 4, 4]
    assert sorted_rows(rows_of(dataset)) == sorted_rows(X)
    if kind != "npy":
        label_of = {tuple(row): label for row, label in zip(X.tolist(), LABELS, strict=True)}
        for part in ("train", "validation", "test"):
            for row, label in zip(getattr(dataset, part), dataset.labels[part], strict=True):
                assert label_of[tuple(row.tolist())] == label


def test_header_is_found_out_or_told(tmp_path):
    path = tmp_path / "numbers.csv"
    path.write_text("1,2\n" + "3,4\n" * 20)
    assert len(rows_of(data.array(path))) == 21
    assert len(rows_of(data.array(path, header=True))) == 20


LEVELS = np.tile([0, 3, 16, 16], (40, 5))
AGES, ANSWERS = np.arange(40.0)[:, None] + 18, np.arange(40)[:, None] % 2
SIZES = np.linspace(-1, 5, 40)[:, None]
SUPPORTS = {
    "binary": (np.arange(40) % 2 == 0, "Boolean()"),
    "levels": (LEVELS.astype(np.uint8), "IntegerInterval(lower_bound=0, upper_bound=16)"),
    "levels of images": (
        np.arange(320).reshape(40, 2, 4)[::-1] % 9,
        "IntegerInterval(lower_bound=0, upper_bound=8)",
    ),
    "counts": (np.arange(40, dtype=np.uint8), "IntegerGreaterThan(lower_bound=0)"),
    "less varied than counts": (np.arange(40) + 2000, "Real()"),
    "small and less varied than counts": (
        np.append(np.arange(38) % 2, [5, 7]) + 6,
        "IntegerGreaterThan(lower_bound=0)",
    ),
    "unit": (np.linspace(0, 1, 40), "Interval(lower_bound=0.0, upper_bound=1.0)"),
    "small": (np.linspace(0, 1, 40) * 1e-3, "Real()"),
    "signed": (np.arange(40.0) - 5, "Real()"),
    "columns": (
        np.hstack([AGES, AGES**3, ANSWERS, SIZES, SIZES]),
        ["IntegerGreaterThan(lower_bound=0)", 2, "Boolean()", 1, "Real()", 2],
    ),
    "whole columns": (
        np.hstack([AGES, ANSWERS]),
        ["IntegerGreaterThan(lower_bound=0)", 1, "Boolean()", 1],
    ),
    "too many kinds": (np.hstack([ANSWERS, SIZES] * 15), "Real()"),
    "too many kinds of counts": (
        np.hstack([ANSWERS, AGES**2] * 15),
        "IntegerGreaterThan(lower_bound=0)",
    ),
}


@pytest.mark.parametrize(("values", "support"), SUPPORTS.values(), ids=SUPPORTS.keys())
def test_support_follows_from_the_values(values, support, tmp_path):
    np.save(tmp_path / "x.npy", values)
    dataset = data.array(tmp_path / "x.npy")
    assert dataset.train.is_floating_point()
    if isinstance(support, str):
        assert repr(dataset.support) == support
    else:
        assert list(map(repr, dataset.support.cseq)) == support[::2]
        assert dataset.support.lengths == support[1::2]
    assert bool(dataset.support.check(dataset.test).all())


def test_levels_are_those_of_the_training_data(tmp_path):
    """A higher one in the test data makes them counts, of which no highest is assumed."""
    values = np.tile(np.arange(5.0), (40, 5))
    for last, support in ((4, "IntegerInterval(lower_bound=0, upper_bound=4)"), (9, "counts")):
        values[-1, 0] = last
        np.save(tmp_path / "x.npy", values)
        found = data.array(tmp_path / "x.npy", shuffle=False).support
        assert repr(found) == support or found is constraints.nonnegative_integer


def test_images_become_vectors_with_a_shape(tmp_path):
    np.save(tmp_path / "x.npy", np.random.rand(20, 4, 5))
    dataset = data.array(tmp_path / "x.npy")
    assert dataset.event_shape == (20,) and dataset.image_shape == (4, 5)


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_array_is_mapped_and_every_file_left_alone(kind, tmp_path):
    path = tmp_path / f"large.{kind}"
    values = np.random.default_rng(0).normal(size=(500, 20_000)).astype(np.float32)
    np.save(path, values) if kind == "npy" else np.savez(path, values)
    before = path.read_bytes()
    tracemalloc.start()
    try:
        dataset = data.array(path, shuffle=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if kind == "npy":  # an archive is read whole: only `.npy` is promised for larger data
        assert peak < values.nbytes / 4
    assert torch.equal(dataset.test, torch.as_tensor(values[-50:]))
    dataset.train.zero_()
    assert path.read_bytes() == before


def test_standardized_values_stay_in_their_units(tmp_path):
    table = np.column_stack([X * [1, 10, 100] + 7, np.full(40, 3.0)])
    np.save(tmp_path / "x.npy", table)
    raw = data.array(tmp_path / "x.npy")
    dataset = data.array(tmp_path / "x.npy", standardize=True)
    assert torch.equal(dataset.test, raw.test) and dataset.support is constraints.real
    standard = dataset.standardization(dataset.train)
    assert torch.allclose(standard.mean(0), torch.zeros(4).double(), atol=1e-6)
    expected = torch.tensor([1.0, 1, 1, 0]).double()
    assert torch.allclose(standard.std(0, correction=0), expected, atol=1e-6)
    assert torch.allclose(dataset.standardization.invert(standard), raw.train)


@pytest.mark.parametrize("shuffle", [True, False])
def test_row_numbers_are_those_of_the_file(shuffle, tmp_path):
    np.save(tmp_path / "x.npy", np.arange(40.0)[:, None] + 0.5)
    dataset = data.array(tmp_path / "x.npy", shuffle=shuffle)
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(dataset, part)[:, 0], dataset.row_numbers(part) + 0.5)


def text(content):
    return lambda path: path.write_text(content)


def array(values, **options):
    return lambda path: np.save(path, values, **options)


def as_array(values):
    def write(path):
        with path.open("wb") as file:
            np.save(file, values)

    return write


def archive(**arrays):
    return lambda path: np.savez(path, **arrays)


def cut(write, size):
    def damage(path):
        write(path)
        path.write_bytes(path.read_bytes()[:size])

    return damage


def flipped(write, position):
    def damage(path):
        write(path)
        content = bytearray(path.read_bytes())
        content[position] ^= 0xFF
        path.write_bytes(bytes(content))

    return damage


def zipped(name, content):
    def write(path):
        with zipfile.ZipFile(path, "w") as file:
            file.writestr(name, content)

    return write


NUMBERS = "\n".join(f"{i},{i + 0.5}" for i in range(30))
BAD = {
    "truncated npy": ("x.npy", cut(array(X), 300), {}, "x.npy cannot be read"),
    "npy cut in its header": ("x.npy", cut(array(X), 20), {}, "x.npy cannot be read"),
    "empty npy": ("x.npy", cut(array(X), 0), {}, "x.npy cannot be read"),
    "npy of objects": (
        "x.npy",
        array(np.array([{}] * 20, dtype=object), allow_pickle=True),
        {},
        "Python objects, which are not loaded",
    ),
    "npy of text": ("x.npy", array(np.array(["a"] * 20)), {}, "values of type <U1; expected"),
    "npy of a number": ("x.npy", array(np.array(3.0)), {}, "array of shape ()"),
    "npy without rows": ("x.npy", array(np.zeros((0, 3))), {}, "array of shape (0, 3)"),
    "npy with few rows": ("x.npy", array(X[:5]), {}, "5 datapoints cannot be split"),
    "npy with NaN": ("x.npy", array(X * np.nan), {}, "120 NaN or infinite value(s) among 120"),
    "npy with infinity": ("x.npy", array(np.where(X > 1.5, np.inf, X)), {}, "NaN or infinite"),
    "npy of complex": ("x.npy", array(X.astype(complex)), {}, "values of type complex128"),
    "npy that is text": ("x.npy", text(NUMBERS), {}, "x.npy cannot be read"),
    "npy with a label": ("x.npy", array(X), {"label": "a"}, "header and label are for tables"),
    "truncated npz": ("x.npz", cut(archive(a=X), 200), {}, "x.npz cannot be read"),
    "npz that is no archive": ("x.npz", text("hello"), {}, "x.npz cannot be read"),
    "npz corrupted": (
        "x.npz",
        flipped(lambda path: np.savez_compressed(path, a=X), 200),
        {},
        "x.npz cannot be read",
    ),
    "npz of objects": (
        "x.npz",
        lambda path: np.savez(path, a=np.array([{}] * 20, dtype=object), allow_pickle=True),
        {},
        "x.npz",
    ),
    "npz of two arrays": ("x.npz", archive(a=X, b=X), {}, "arrays ['a', 'b']; expected one"),
    "npz of nothing": ("x.npz", archive(), {}, "holds the arrays []"),
    "npz of other files": ("x.npz", zipped("notes.txt", "hi"), {}, "x.npz cannot be read"),
    "npz that is an npy": ("x.npz", as_array(X), {}, "in the format .npy; rename it"),
    "npz with few labels": (
        "x.npz",
        archive(data=X, labels=LABELS[:7]),
        {},
        "labels have shape (7,); expected (40,)",
    ),
    "empty csv": ("x.csv", text(""), {}, "x.csv cannot be read"),
    "ragged csv": ("x.csv", text("1,2\n1,2,3\n" * 9), {}, "x.csv cannot be read"),
    "csv with text": ("x.csv", text("a,b\n" + "1,blue\n" * 20), {}, "text such as 'blue'"),
    "csv with a gap": ("x.csv", text(NUMBERS + "\n7,\n"), {}, "the first in data row 31"),
    "csv without the label": ("x.csv", text(NUMBERS), {"label": "kind"}, "no column 'kind'"),
    "csv of bytes": (
        "x.csv",
        lambda path: path.write_bytes(bytes(range(128, 256)) * 9),
        {},
        "x.csv cannot be read",
    ),
    "csv of a header": ("x.csv", text("a,b\n"), {}, "array of shape (0, 2)"),
    "another suffix": ("x.mat", text(""), {}, "ends in '.mat'; expected .npy, .npz or .csv"),
    "a folder": ("x.npy", lambda path: path.mkdir(), {}, "is a folder; expected a file"),
    "parts too large": ("x.npy", array(X), {"test": 0.95}, "cannot be split"),
    "parts too small": ("x.npy", array(X), {"validation": 0.0}, "cannot be split"),
}


@pytest.mark.parametrize(("name", "write", "options", "message"), BAD.values(), ids=BAD.keys())
def test_bad_file_is_one_sentence(name, write, options, message, tmp_path):
    write(tmp_path / name)
    with pytest.raises(ValueError) as error:
        data.array(tmp_path / name, **options)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_missing_file_is_named(tmp_path):
    for name in ("x.npy", "x.npz", "x.csv"):
        with pytest.raises(FileNotFoundError, match=name):
            data.array(tmp_path / name)
