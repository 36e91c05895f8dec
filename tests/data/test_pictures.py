"""Folders of pictures, whole, damaged and hostile."""

import logging
import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from torch.distributions import constraints

from ppvae import data, pairs
from ppvae.likelihoods import DiscretizedLogisticMixture

LEVELS = np.random.default_rng(0).integers(0, 256, (12, 3, 4, 3), dtype=np.uint8)  # height 3


def write(folder, values=LEVELS, ending=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, levels in enumerate(values):
        Image.fromarray(levels).save(folder / f"{number:02d}{ending}")
    return folder


def by_name(dataset):
    """Return each datapoint as an image, channels first, by the name of its file."""
    shape = (-1, *dataset.image_shape)
    return {
        name: values.reshape(shape)
        for part in ("train", "validation", "test")
        for name, values in zip(dataset.row_names[part], getattr(dataset, part), strict=True)
    }


def one(folder, name, **options):
    return by_name(data.images(folder, **options))[name].numpy()


def test_pictures_are_channels_first_with_labels_rows_and_names(tmp_path):
    write(tmp_path / "b" / "black", LEVELS[:5])
    write(tmp_path / "a", LEVELS[5:])
    dataset = data.images(tmp_path, seed=3)
    assert dataset.image_shape == (3, 4) and dataset.train.dtype == torch.float32
    bounds = dataset.support.lower_bound, dataset.support.upper_bound
    assert isinstance(dataset.support, constraints.integer_interval) and bounds == (0, 255)
    assert dataset.label_names == ("a", "b/black") and dataset.notes == ()
    ordered = [*LEVELS[5:], *LEVELS[:5]]  # that of the paths
    for part in ("train", "validation", "test"):
        for row, values in enumerate(getattr(dataset, part)):
            number = int(dataset.rows[part][row])
            name = dataset.row_names[part][row]
            below = f"a/{number:02d}" if number < 7 else f"b/black/{number - 7:02d}"
            assert name == f"{below}.png"
            assert dataset.label_names[dataset.labels[part][row]] == name.rpartition("/")[0]
            expected = np.moveaxis(ordered[number], -1, 0)
            np.testing.assert_array_equal(values.reshape(3, 3, 4), expected)
    assert isinstance(pairs.assemble(dataset, latent=2).likelihood, DiscretizedLogisticMixture)


def test_gray_pictures_stay_gray_unless_one_is_in_color(tmp_path):
    write(tmp_path, LEVELS[..., 0])
    Image.fromarray(LEVELS[0, ..., 0] > 99).save(tmp_path / "bits.png")
    Image.fromarray(LEVELS[0, ..., 0]).convert("P").save(tmp_path / "palette.gif")
    deep = LEVELS[0, ..., 0].astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    dataset = data.images(tmp_path)
    pictures = by_name(dataset)
    assert dataset.event_shape == (12,) and dataset.labels == {} and dataset.label_names == ()
    for name in ("00.png", "palette.gif", "deep.png"):
        np.testing.assert_array_equal(pictures[name][0], LEVELS[0, ..., 0])
    np.testing.assert_array_equal(pictures["bits.png"][0], 255 * (LEVELS[0, ..., 0] > 99))
    assert dataset.notes == (f"{tmp_path}: 1 picture(s) of 16-bit levels were rounded to 8 bits",)
    assert one(tmp_path, "00.png", color=True).shape == (3, 3, 4)
    Image.fromarray(LEVELS[0]).save(tmp_path / "colored.png")
    pictures = by_name(data.images(tmp_path))
    np.testing.assert_array_equal(pictures["00.png"], np.stack([LEVELS[0, ..., 0]] * 3))
    assert one(tmp_path, "colored.png", color=False).shape == (1, 3, 4)


def test_orientation_transparency_and_files_left_out(tmp_path, caplog):
    write(tmp_path, LEVELS[..., 0].swapaxes(1, 2))  # upright: height 4
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by 90 degrees, clockwise
    Image.fromarray(LEVELS[0, ..., 0]).save(tmp_path / "turned.png", exif=turned)
    layers = np.zeros((2, 4, 3), np.uint8)
    layers[1, 1:] = 255  # black, the upper row transparent
    clear = Image.merge("LA", [Image.fromarray(layer) for layer in layers])
    clear.save(tmp_path / "clear.PNG")
    for name in (".hidden.png", "readme.txt", ".folder/00.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no picture")
    with caplog.at_level(logging.WARNING):
        dataset = data.images(tmp_path)
    pictures = by_name(dataset)
    np.testing.assert_array_equal(pictures["turned.png"][0], np.rot90(LEVELS[0, ..., 0], -1))
    np.testing.assert_array_equal(pictures["clear.PNG"][0], [[255] * 3, [0] * 3, [0] * 3, [0] * 3])
    assert dataset.notes == tuple(record.message for record in caplog.records)
    assert [note.removeprefix(f"{tmp_path}: ") for note in dataset.notes] == [
        "1 picture(s) with transparent parts were put on white",
        "3 hidden file(s) or file(s) with other endings were left out",
    ]


def test_sizes_must_be_one_or_given(tmp_path):
    write(tmp_path, LEVELS[..., 0])
    checks = np.indices((30, 40)).sum(0).astype(np.uint8) % 2 * 255
    Image.fromarray(checks).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"00.png has 3 x 4 and .*x.png 30 x 40; give size="):
        data.images(tmp_path)
    small = one(tmp_path, "x.png", size=(6, 8))[0]
    assert small.shape == (6, 8) and np.abs(small - 127.5).max() < 20  # no aliasing: gray
    dataset = data.images(tmp_path, size=5)
    assert dataset.image_shape == (5, 5) and "13 picture(s) of another" in dataset.notes[0]
    with pytest.raises(ValueError, match=r"size must be a whole number from 1.* got \(3, 0\)"):
        data.images(tmp_path, size=(3, 0))


def test_first_picture_of_an_animation_and_a_link_inside(tmp_path):
    write(tmp_path)
    first, *others = (Image.fromarray(levels) for levels in LEVELS[..., 0])
    first.save(tmp_path / "moving.gif", save_all=True, append_images=others)
    (tmp_path / "linked.png").symlink_to("03.png")
    dataset = data.images(tmp_path, color=False)
    pictures = by_name(dataset)
    np.testing.assert_array_equal(pictures["moving.gif"][0], LEVELS[0, ..., 0])
    assert torch.equal(pictures["linked.png"], pictures["03.png"])
    assert dataset.notes == (f"{tmp_path}: 1 animation(s): the first picture was taken",)


def chunk(kind, content):
    size, check = len(content), zlib.crc32(kind + content)
    return struct.pack(">I", size) + kind + content + struct.pack(">I", check)


def bomb(path):
    header = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels))


def truncated(path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000])


def link(path):
    path.symlink_to(path.parent.parent / "secret.png")


DAMAGED = {
    "truncated PNG": ("bad.png", truncated, "cannot be read: "),
    "truncated JPEG": ("bad.jpg", truncated, "cannot be read: image file is truncated"),
    "empty": ("bad.png", lambda path: path.touch(), "its content is no picture"),
    "text": ("bad.gif", lambda path: path.write_text("GIF"), "its content is no picture"),
    "bomb": ("bad.png", bomb, "cannot be read: .*exceeds limit"),
    "PostScript": (
        "bad.png",
        lambda path: path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        "its content is no picture",
    ),
    "link out": ("bad.png", link, "is a symbolic link out of the folder"),
    "link to a folder out": ("bad", link, "is a symbolic link out of the folder"),
    "pipe": ("bad.png", os.mkfifo, "is no plain file"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_or_hostile_file_is_named_in_one_sentence(case, tmp_path):
    name, damage, message = DAMAGED[case]
    folder = write(tmp_path / "pictures")
    outside = tmp_path / "secret.png"
    outside.mkdir() if name == "bad" else Image.fromarray(LEVELS[0]).save(outside)
    damage(folder / name)
    with pytest.raises(ValueError, match=f"{name} .*{message}") as error:
        data.images(folder, size=4)
    assert "\n" not in str(error.value)


def test_folder_without_pictures_or_memory(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"holds no picture .png, .jpg"):
        data.images(tmp_path)
    with pytest.raises(FileNotFoundError):
        data.images(tmp_path / "nowhere")
    monkeypatch.setattr("ppvae.data.files.memory", lambda: 1000.0)
    with pytest.raises(ValueError, match=r"asks for 0.0 GiB.* take fewer pictures, or a smaller"):
        data.images(write(tmp_path / "many"))
