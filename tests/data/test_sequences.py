"""Sequences of unequal length, from lists and long tables."""

import numpy as np
import pytest
import torch
from matplotlib.cbook import get_sample_data

from ppvae import data, pairs

LENGTHS = [3 + n % 4 for n in range(30)]
WALKS = [np.arange(2 * n, dtype=float).reshape(n, 2) + n for n in LENGTHS]


def table():
    rows = [(f"s{i:02}", t, *walk[t]) for i, walk in enumerate(WALKS) for t in range(len(walk))]
    random = np.random.default_rng(0)
    cells = zip(*[rows[i] for i in random.permutation(len(rows))], strict=True)
    return {name: np.array(c) for name, c in zip(("id", "time", "a", "b"), cells, strict=True)}


@pytest.mark.parametrize("source", [WALKS, table()])
def test_padding_is_not_seen(source):
    found = data.sequences(source)
    for part in ("train", "test"):
        x, seen = (t.unflatten(-1, (6, 2)) for t in found.batch(part))
        for row, number in enumerate(found.rows[part].tolist()):
            length = LENGTHS[number]
            assert np.array_equal(x[row, :length], WALKS[number])
            assert seen[row, :length].all() and not seen[row, length:].any()
    if source is not WALKS:
        assert found.row_names["test"][0] == f"s{found.rows['test'][0]:02}"
        assert found.columns[:3] == ("a [0]", "b [0]", "a [1]")


def test_what_was_filled_up_has_no_density():
    found = data.sequences(WALKS)
    torch.manual_seed(0)
    pair = pairs.assemble(found, latent=2)
    x, seen = found.batch("test")
    z = torch.zeros(len(x), 2)
    other = torch.where(seen > 0, x, 99.0)
    first, second = (pair.decode(z, seen).log_prob(values) for values in (x, other))
    assert torch.equal(first, second)
    assert torch.equal(pair.encode(x, seen).mean, pair.encode(other, seen).mean)


def test_what_was_filled_up_is_of_no_unit():
    warm = data.sequences([walk + 290.0 for walk in WALKS])
    known = warm.train[:, -1][warm.seen["train"][:, -1] > 0]
    encoder = pairs.assemble(warm, latent=2).posterior.network
    for loc in (warm.standardized().standardization.loc, encoder.loc):
        torch.testing.assert_close(loc[-1], known.mean())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([np.zeros((3, 2)), np.zeros((3, 1))], r"sequence 1 has 1 features and the first one 2"),
        ([np.zeros((0, 2))], r"sequence 0 has shape \(0, 2\)"),
        ([np.array([1.0, np.inf])], r"sequence 0 holds infinite"),
        ({"id": [1, 1], "time": [0, 0], "a": [1.0, 2.0]}, r"1 row\(s\) have id and time of an"),
        ({"id": [1, 1], "tim": [0, 1], "a": [1.0, 2.0]}, r"no column 'time' \(did you mean 'tim'"),
        ({"id": [1, 1], "time": [0, 1], "a": ["x", "y"]}, r"column 'a' holds what is no number"),
    ],
)
def test_what_are_no_sequences(source, message):
    with pytest.raises(ValueError, match=message):
        data.sequences(source)


def test_lengths_are_where_sequences_end():
    walks = [np.full((2 + n % 4, 2), float(n)) for n in range(40)]
    dataset = data.sequences(walks)
    series = data.with_lengths(dataset)
    for part, rows in dataset.rows.items():
        x, length = series.batch(part)
        assert x.shape == (len(rows), 5, 2)
        assert length.tolist() == [2 + n % 4 for n in rows.tolist()]
        assert torch.equal(x[:, 0, 0].long(), rows)
    assert data.with_lengths(series) is series
    walks[7][1, 0] = np.nan  # of three steps
    with pytest.raises(ValueError, match="sequence 7 has a missing value before its end"):
        data.with_lengths(data.sequences(walks))


def test_windows_of_the_eeg_are_split_by_time(tmp_path, monkeypatch):
    waves = data.eeg(steps=16, every=3)
    recording = np.fromfile(get_sample_data("eeg.dat", asfileobj=False)).reshape(800, 4)
    ends = {"train": (0, 480), "validation": (480, 640), "test": (640, 800)}
    for part, (start, end) in ends.items():
        rows = waves.rows[part]
        assert rows.min() == start and end - 3 < rows.max() + 16 <= end
        for window, row in zip(getattr(waves, part), rows.tolist(), strict=True):
            np.testing.assert_allclose(window.view(16, 4), recording[row : row + 16], rtol=1e-6)
    assert waves.rows["test"].diff().unique().tolist() == [16]
    with pytest.raises(ValueError, match="steps from 1 to 160"):
        data.eeg(161)
    monkeypatch.setattr("matplotlib.get_data_path", lambda: str(tmp_path))
    with pytest.raises(FileNotFoundError, match="without its sample data"):
        data.eeg()


def as_array():
    x = np.full((len(WALKS), 9, 2), np.nan)
    for row, walk in zip(x, WALKS, strict=True):
        row[: len(walk)] = walk
    return x


def test_arrays_of_padded_sequences_are_those_of_a_list(tmp_path):
    x, expected = as_array(), data.sequences(WALKS)
    np.save(tmp_path / "walks.npy", x.astype("f4"))
    absurd = np.where(np.isnan(x), np.array([np.inf, -1.0]), x)
    np.savez(tmp_path / "walks.npz", x=absurd, length=np.array(LENGTHS))
    for source in (x, torch.from_numpy(x), tmp_path / "walks.npy", str(tmp_path / "walks.npz")):
        found = data.sequences(source)
        assert found.series_shape == (6, 2)
        assert all(map(torch.equal, found.batch("train"), expected.batch("train")))
    one = data.sequences(x[:, :, 0])
    assert torch.equal(one.train, expected.train[:, ::2])


def saved(tmp_path, **arrays):
    if arrays.keys() == {"npy"}:
        np.save(tmp_path / "walks.npy", arrays["npy"])
        return tmp_path / "walks.npy"
    np.savez(tmp_path / "walks.npz", **arrays)
    return tmp_path / "walks.npz"


X = np.ones((30, 6, 2))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"npy": np.ones(5)}, r"shape \(5,\); expected numbers \(data, steps, features\)"),
        ({"npy": X * np.nan}, r"walks: sequence 0 has no value; remove it"),
        ({"npy": X * 1e39}, r"sequence 0 holds infinite values; a missing one is NaN"),
        ({"x": X, "length": np.array(LENGTHS) + 1}, r"sequence 3 has length 7; expected 1 to 6"),
        ({"x": X, "length": np.zeros(30, int)}, r"sequence 0 has length 0; expected 1 to 6"),
        ({"x": X, "length": np.array(LENGTHS) / 2}, r"type float64; expected whole numbers"),
        ({"x": X, "length": np.ones(29, int)}, r"shape \(29,\).* of shape \(30,\), one for each"),
        ({"x": X, "lengths": np.ones(30, int)}, r"\['lengths', 'x'\]; expected 'x', and besides"),
        ({"length": np.ones(30, int)}, r"the arrays \['length'\]; expected 'x'"),
    ],
)
def test_what_are_no_padded_sequences(arrays, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        data.sequences(saved(tmp_path, **arrays))
