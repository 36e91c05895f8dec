"""The examples as pages: run at a stated size, with what they print and draw."""

import contextlib
import io
import runpy
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from IPython.display import Image, display
from matplotlib.figure import Figure

ROOT = Path(__file__).parent.parent.parent
TRAINING, TEST = 55_001, 297  # rows: `data.mnist` keeps 55,000 for training


def names_of(example: str) -> dict[str, Any]:
    """Return what a script of the examples defines."""
    return runpy.run_path(str(ROOT / "examples" / f"{example}.py"))


def digits_as_mnist(enlarged: float = 1.0) -> str:
    """Return a folder of files as MNIST's, which hold scikit-learn's digits.

    A page that is built without a network has no MNIST. There are 1500 different images of 8 by 8
    pixels for training, each repeated.

    Args:
        enlarged: how many times higher and wider the images are.
    """
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    folder, digits = Path(mkdtemp()), load_digits()
    large = zoom(digits.images, (1, enlarged, enlarged), order=1) / 16 * 255
    images = large.round().astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    repeated = np.arange(TRAINING) % (len(images) - TEST)
    for part, rows in (("train", repeated), ("t10k", np.arange(-TEST, 0))):
        _write_idx(folder / f"{part}-images-idx3-ubyte", images[rows])
        _write_idx(folder / f"{part}-labels-idx1-ubyte", labels[rows])
    return str(folder)


def _write_idx(path: Path, values: np.ndarray) -> None:
    sizes = np.array(values.shape, dtype=">i4").tobytes()
    path.write_bytes(bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes())


@contextlib.contextmanager
def figures_shown() -> Iterator[str]:
    """Give a folder, and show the pictures that are in it at the end."""
    folder = mkdtemp()
    yield folder
    for path in sorted(Path(folder).rglob("*.png")):
        display(Image(str(path)))


def shown(figure: Figure) -> Image:
    """Return a figure as a picture that a page shows, also without pyplot."""
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=130)
    return Image(written.getvalue())
