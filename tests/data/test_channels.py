"""Arrays of pictures: where their channels are."""

import numpy as np
import pytest
from torch.distributions import constraints

from ppvae import data


def saved(folder, shape, dtype=np.uint8):
    values = np.random.default_rng(0).integers(0, 250, shape).astype(dtype)
    np.save(folder / "x.npy", values)
    return values


@pytest.mark.parametrize(("shape", "axis"), [((20, 5, 6, 3), 3), ((20, 3, 5, 6), 1)])
def test_color_is_stored_channel_by_channel(tmp_path, shape, axis):
    values = saved(tmp_path, shape)
    found = data.array(tmp_path / "x.npy")
    assert found.image_shape == (5, 6) and found.support.upper_bound == 255
    first = np.moveaxis(values, axis, 1)[found.rows["test"].numpy()]
    assert np.array_equal(found.test.unflatten(1, (3, 5, 6)).numpy(), first)


def test_gray_pictures_and_those_of_no_channels(tmp_path):
    saved(tmp_path, (20, 5, 6, 1))
    assert data.array(tmp_path / "x.npy").event_shape == (30,)
    saved(tmp_path, (20, 5, 6, 7), np.float32)
    found = data.array(tmp_path / "x.npy")
    assert found.image_shape is None and found.event_shape == (210,)


def test_what_may_be_either_is_asked_for(tmp_path):
    values = saved(tmp_path, (20, 3, 6, 3))
    with pytest.raises(ValueError, match=r"may be at dimension 1 or 3; say channel_axis=1"):
        data.array(tmp_path / "x.npy")
    last = data.array(tmp_path / "x.npy", channel_axis=-1)
    assert last.image_shape == (3, 6)
    rows = last.rows["test"].numpy()
    assert np.array_equal(last.test[:, :18].numpy(), values[rows, :, :, 0].reshape(len(rows), 18))
    assert data.array(tmp_path / "x.npy", channel_axis=1).image_shape == (6, 3)


@pytest.mark.parametrize(
    ("shape", "axis", "message"),
    [
        ((20, 5, 6, 4), None, r"4 channels at dimension 3; expected 1 or 3: save x\[\.\.\., :3\]"),
        ((20, 4, 5, 6), None, r"4 channels at dimension 1; expected 1 or 3: save x\[:, :3\]"),
        ((20, 4, 5, 3), None, r"may be at dimension 1 or 3"),
        ((20, 5, 6, 3), 2, r"channel_axis is 1 or 3.* got 2"),
        ((20, 5, 6), 1, r"channel_axis is 1 or 3.* got 1"),
    ],
)
def test_other_channels(tmp_path, shape, axis, message):
    saved(tmp_path, shape)
    with pytest.raises(ValueError, match=message):
        data.array(tmp_path / "x.npy", channel_axis=axis)


def test_bits_stay_bits(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 2, (20, 5, 6, 1), np.uint8))
    assert data.array(tmp_path / "x.npy").support is constraints.boolean
