"""MNIST from its IDX files, whole and damaged."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from torch.distributions import constraints

from ppvae import data
from ppvae.data import handwriting

RNG = np.random.default_rng(0)
IMAGES = {
    "train": RNG.integers(0, 256, (55_010, 2, 3), dtype=np.uint8),
    "t10k": RNG.integers(0, 256, (20, 2, 3), dtype=np.uint8),
}
LABELS = {
    part: RNG.integers(0, 10, len(images), dtype=np.uint8) for part, images in IMAGES.items()
}


def idx(values):
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.tobytes()


def write(folder, gzipped=False):
    for part in IMAGES:
        for name, values in (("images-idx3", IMAGES[part]), ("labels-idx1", LABELS[part])):
            content = idx(values)
            path = folder / f"{part}-{name}-ubyte{'.gz' if gzipped else ''}"
            path.write_bytes(gzip.compress(content, 1) if gzipped else content)


@pytest.mark.parametrize("gzipped", [False, True])
def test_images_and_labels_are_those_of_the_files(gzipped, tmp_path):
    write(tmp_path, gzipped)
    mnist = data.mnist(tmp_path, binarized=False)
    assert [len(mnist.train), len(mnist.validation), len(mnist.test)] == [55_000, 10, 20]
    assert mnist.image_shape == (2, 3) and mnist.support is constraints.unit_interval
    expected = torch.as_tensor(IMAGES["train"][55_000:].reshape(10, 6) / 255, dtype=torch.float32)
    assert torch.equal(mnist.validation, expected)
    assert mnist.labels["test"].tolist() == LABELS["t10k"].tolist()
    assert mnist.labels["validation"].tolist() == LABELS["train"][55_000:].tolist()


def test_binarized_pixels_are_one_with_the_probability_of_their_gray(tmp_path):
    write(tmp_path)
    mnist, gray = data.mnist(tmp_path), data.mnist(tmp_path, binarized=False).train
    assert mnist.support is constraints.boolean and bool(mnist.support.check(mnist.train).all())
    # The sum of 330,000 independent pixels, within 4 of its standard deviations.
    spread = (gray * (1 - gray)).sum().sqrt()
    assert abs((mnist.train - gray).sum()) < 4 * spread
    bright = gray > 0.8
    assert abs(mnist.train[bright].mean() - gray[bright].mean()) < 0.01
    assert torch.equal(mnist.train, data.mnist(tmp_path).train)
    assert not torch.equal(mnist.train, data.mnist(tmp_path, seed=1).train)


def change(name, edit):
    def damage(folder):
        path = folder / name
        path.write_bytes(edit(path.read_bytes()))

    return damage


TRAIN, TEST_LABELS = "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
DAMAGED = {
    "truncated": (change(TRAIN, lambda b: b[:-1]), f"{TRAIN} is damaged: it has .* bytes where"),
    "too long": (change(TRAIN, lambda b: b + b"x"), f"{TRAIN} is damaged: it has"),
    "empty": (change(TRAIN, lambda b: b""), f"{TRAIN} is no IDX file .* it begins with nothing"),
    "header only begun": (change(TRAIN, lambda b: b[:9]), f"{TRAIN} is damaged"),
    "another format": (change(TRAIN, lambda b: b"\x89PNG" + b), f"{TRAIN} is no IDX file"),
    "labels for images": (
        change(TRAIN, lambda b: idx(LABELS["train"])),
        f"{TRAIN} is no IDX file of bytes in 3 dimension",
    ),
    "floating values": (change(TRAIN, lambda b: b[:2] + b"\x0d" + b[3:]), "is no IDX file"),
    "a size that lies": (
        change(TRAIN, lambda b: b[:4] + b"\xff\xff\xff\xff" + b[8:]),
        f"{TRAIN} is damaged",
    ),
    "gzip truncated": (
        change(TRAIN, lambda b: gzip.compress(b, 1)[:-30]),
        f"{TRAIN} is damaged: Compressed file ended",
    ),
    "gzip corrupted": (
        change(TRAIN, lambda b: gzip.compress(b[:9000], 1)[:600] + b"\x00" * 600),
        f"{TRAIN} is damaged",
    ),
    "fewer labels": (
        change(TEST_LABELS, lambda b: idx(LABELS["t10k"][:7])),
        "t10k-images holds 20 images and t10k-labels 7 labels",
    ),
    "few images": (
        lambda folder: [
            change(TRAIN, lambda b: idx(IMAGES["train"][:50]))(folder),
            change("train-labels-idx1-ubyte", lambda b: idx(LABELS["train"][:50]))(folder),
        ],
        "mnist needs more than 55000 training images.*got 50",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_file_is_named(damage, message, tmp_path):
    write(tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=message):
        data.mnist(tmp_path)


def test_missing_file_and_folder_are_named(tmp_path):
    write(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds neither train-labels-idx1-ubyte nor .*gz"):
        data.mnist(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere is no folder"):
        data.mnist(tmp_path / "nowhere")


class Response:
    """What a mirror answers: so many of the bytes that it promised."""

    def __init__(self, content, error=None):
        self.content, self.error = content, error
        self.headers = {"content-length": str(len(content))}

    def raise_for_status(self):
        if isinstance(self.error, requests.HTTPError):
            raise self.error

    def iter_content(self, chunk_size):
        yield self.content
        if self.error is not None:
            raise self.error


DOWNLOADS = {
    "interrupted": Response(b"half", requests.exceptions.ChunkedEncodingError("broken")),
    "corrupted": Response(b"something else"),
    "gone": Response(b"", requests.HTTPError("404 Not Found")),
}


@pytest.mark.parametrize("response", DOWNLOADS.values(), ids=DOWNLOADS.keys())
def test_failed_download_is_one_sentence_and_leaves_nothing(response, tmp_path, monkeypatch):
    import pooch

    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    monkeypatch.setattr(requests, "get", lambda *args, **kwargs: response)
    with pytest.raises(OSError, match=r"^mnist could not be downloaded from https.*try again"):
        data.mnist()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_downloaded_files_are_kept_and_checked(tmp_path, monkeypatch):
    import hashlib

    import pooch

    write(tmp_path, gzipped=True)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    asked = []

    def get(url, **_):
        asked.append(Path(url).name)
        return Response(files[Path(url).name])

    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache")
    monkeypatch.setattr(requests, "get", get)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(handwriting, "_SHA256", digests)
    first, second = data.mnist(), data.mnist()
    assert torch.equal(first.test, second.test)
    assert sorted(asked) == sorted(files)
