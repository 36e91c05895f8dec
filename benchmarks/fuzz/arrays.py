"""Files of arrays."""

import gzip
import io
import struct
import zipfile

import numpy as np
import torch

from ppvae import data
from ppvae.data.idx import read_idx as read_idx_of

X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 4, 4), dtype=np.uint8)


def of_npy(values, **options):
    file = io.BytesIO()
    np.save(file, values, **options)
    return file.getvalue()


def npy():
    return [
        of_npy(values)
        for values in (X, X.astype(">f8"), X > 0, np.asfortranarray(X), PIXELS, PIXELS[:, 0, 0])
    ]


def archive(method=zipfile.ZIP_DEFLATED, **members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as opened:
        for name, content in members.items():
            opened.writestr(f"{name}.npy", content)
    return file.getvalue()


def npz():
    labels = of_npy(np.arange(20) % 4)
    return [
        archive(data=of_npy(X)),
        archive(zipfile.ZIP_STORED, data=of_npy(X), labels=labels),
        archive(x=of_npy(PIXELS), labels=of_npy(np.array(["a", "b"] * 10))),
    ]


def zipped(content):
    return archive(zipfile.ZIP_STORED, data=content)


def gzipped(content):
    return gzip.compress(content, 1, mtime=0)


def idx():
    header = bytes([0, 0, 8, 3]) + struct.pack(">3I", *PIXELS.shape)
    return [header + PIXELS.tobytes()]


def idx_gz():
    return [gzipped(content) for content in idx()]


def read_idx(path):
    return read_idx_of(path, dimensions=3)


def read_array(path):
    found = data.array(path)
    for part in (found.train, found.validation, found.test):
        assert bool(torch.isfinite(part).all()), "it holds values that are not finite"
    return found
