"""Real handwritten digits."""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.data.dataset import Dataset
from ppvae.data.idx import read_idx
from ppvae.data.splitting import split

_MIRROR = "https://storage.googleapis.com/cvdf-datasets/mnist/"
_SHA256 = {
    "train-images-idx3-ubyte.gz": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
    ),
    "train-labels-idx1-ubyte.gz": (
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
    ),
    "t10k-images-idx3-ubyte.gz": (
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
    ),
}
_TRAIN = 55_000  # of the 60,000 training images; the others are for validation


def digits() -> Dataset:
    """Return scikit-learn's 1797 handwritten digits: 8 x 8 pixels of 17 gray levels, 0 to 16.

    A datapoint is a vector of 64 levels; the labels are the digits. A fixed random tenth of the
    data is for validation, another one for testing
    (Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998).

    Example:
        >>> digits().train.shape, digits().test.shape
        (torch.Size([1439, 64]), torch.Size([179, 64]))
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = split(
        "digits",
        torch.as_tensor(images, dtype=torch.float32),
        constraints.integer_interval(0, 16),
        labels=torch.as_tensor(labels),
        image_shape=(8, 8),
    )
    return replace(pixels, ink=True)


def mnist(folder: str | Path | None = None, *, binarized: bool = True, seed: int = 0) -> Dataset:
    """Return MNIST: 70,000 handwritten digits of 28 x 28 pixels, as vectors of 784.

    The first 55,000 training images are for training, the other 5,000 for validation; the 10,000
    test images are for testing (LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning
    Applied to Document Recognition", 1998). The pixels are binarized once, each 1 with its gray
    value as probability, as is usual where log P(X) is compared (Salakhutdinov and Murray, "On
    the Quantitative Analysis of Deep Belief Networks", 2008).

    Args:
        folder: where the four IDX files are, gzipped or not. Without it they are downloaded once
            into the user's cache, and checked.
        binarized: return pixels in {0, 1}; if false, gray values in [0, 1].
        seed: the seed of the binarization.

    Raises:
        FileNotFoundError: if the folder lacks one of the files.
        ValueError: if a file is damaged, or images and labels differ in number.
        OSError: if the download fails.
    """
    images, labels, image_shapes = {}, {}, set()
    for part in ("train", "t10k"):
        pixels = read_idx(_file(folder, f"{part}-images-idx3-ubyte"), dimensions=3)
        labels[part] = read_idx(_file(folder, f"{part}-labels-idx1-ubyte"), dimensions=1).long()
        if len(pixels) != len(labels[part]):
            raise ValueError(
                f"{part}-images holds {len(pixels)} images and {part}-labels "
                f"{len(labels[part])} labels; expected equal numbers"
            )
        image_shapes.add((pixels.shape[1], pixels.shape[2]))
        images[part] = pixels.flatten(1).float() / 255
    if binarized:
        generator = torch.Generator().manual_seed(seed)
        images = {
            part: torch.bernoulli(gray, generator=generator) for part, gray in images.items()
        }
    if len(images["train"]) <= _TRAIN or len(image_shapes) > 1:
        raise ValueError(
            f"mnist needs more than {_TRAIN} training images and test images of the same size, "
            f"got {len(images['train'])} and images of {sorted(image_shapes)}"
        )
    return Dataset(
        name="mnist",
        train=images["train"][:_TRAIN],
        validation=images["train"][_TRAIN:],
        test=images["t10k"],
        support=constraints.boolean if binarized else constraints.unit_interval,
        labels=_parts(labels["train"], labels["t10k"]),
        image_shape=image_shapes.pop(),
        ink=True,
        # Counted within each of the two files.
        rows=_parts(torch.arange(len(images["train"])), torch.arange(len(images["t10k"]))),
    )


def _parts(train: Tensor, test: Tensor) -> dict[str, Tensor]:
    return {"train": train[:_TRAIN], "validation": train[_TRAIN:], "test": test}


def _file(folder: str | Path | None, name: str) -> Path:
    if folder is None:
        return _download(f"{name}.gz")
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder; expected the folder of MNIST's IDX files")
    for path in (folder / name, folder / f"{name}.gz"):
        if path.exists():
            return path
    raise FileNotFoundError(f"{folder} holds neither {name} nor {name}.gz")


def _download(name: str) -> Path:
    import pooch

    cache = pooch.os_cache("ppvae") / "mnist"
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        path = pooch.retrieve(
            url=_MIRROR + name,
            known_hash=f"sha256:{_SHA256[name]}",
            fname=name,
            path=cache,
            downloader=pooch.HTTPDownloader(timeout=30, progressbar=sys.stderr.isatty()),
        )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise OSError(
            f"mnist could not be downloaded from {_MIRROR}{name} ({reason:.200}); try "
            "again, or put the four IDX files into a folder and name it"
        ) from error
    finally:
        logger.setLevel(level)
    return Path(path)
