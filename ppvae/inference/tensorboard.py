"""Live curves and pictures of a training, in TensorBoard."""

import importlib.util
import warnings
from pathlib import Path
from typing import Any

from ppvae.engine import Unsupported, first_line, raised_in_pair
from ppvae.inference.history import Record
from ppvae.inference.pictures import Pictures
from ppvae.inference.state import Training

_SPLITS = ("train", "validation")
_RARER = 1.1  # by which the number of steps grows between two pictures


class TensorBoard:
    """A callback that writes the curves and pictures of a training for TensorBoard.

    `tensorboard --logdir FOLDER` shows them while the training runs. Each evaluation is a point of
    each curve, at its number of steps: `elbo/train`, `elbo/validation`, likewise `reconstruction`,
    `kl` and `loss` in nats per datapoint, `learning_rate`, `kl_weight`, `epoch` and `seconds`.

    If `fit` is given a dataset of images, there are `reconstructions`, with the validation data
    in the upper row, and `samples`: at the first evaluation, and whenever the number of steps has
    grown by a tenth. They do not change the training.

    A training that is resumed goes on with its curves. A new training replaces those of an older
    one in the same folder.

    Args:
        folder: where to write.
        pictures: whether pictures are drawn.

    Raises:
        ImportError: if the package tensorboard is not installed.

    Example:
        >>> import tempfile
        >>> import ppvae
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     fit = ppvae.fit(pair, digits, steps=2, callbacks=[TensorBoard(folder)])
        ...     len([*Path(folder).iterdir()])
        1
    """

    def __init__(self, folder: str | Path, *, pictures: bool = True) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise ImportError(
                "TensorBoard needs the package tensorboard: pip install 'ppvae[tensorboard]'"
            )
        self.folder = Path(folder)
        self.pictures = pictures
        self._forget()

    def _forget(self) -> None:
        self._training: Training | None = None
        self._writer: Any = None
        self._pictures: Pictures | None = None
        self._drawn = 0

    def __call__(self, training: Training) -> None:
        """Write the latest evaluation, and pictures if there is time for them again."""
        if self._training not in (None, training):  # one object may serve several trainings
            self._close()
        if training.ended:
            self._close()
            return
        for record in self._begin(training) if self._writer is None else training.records[-1:]:
            self._write(record)
        if self._pictures is not None and training.step >= _RARER * self._drawn:
            self._draw(training)
        self._writer.flush()

    def _begin(self, training: Training) -> list[Record]:
        """Open the folder; return the evaluations that it lacks."""
        from torch.utils.tensorboard import SummaryWriter

        self._training = training
        there = any(self.folder.glob("events.out.tfevents.*"))
        missing = (
            training.records[-1:] if there and len(training.records) > 1 else training.records
        )
        # TensorBoard forgets what it has from this step on: the rest of a training that was
        # killed after its last checkpoint, or all of an older one.
        first = int(missing[0]["step"]) if len(missing) < len(training.records) else 0
        self._writer = SummaryWriter(self.folder, purge_step=first if there else None)
        dataset = training.dataset
        if self.pictures and dataset is not None and dataset.image_shape is not None:
            self._pictures = Pictures(training.pair, dataset)
        return missing

    def _write(self, record: Record) -> None:
        for name, value in record.items():
            split, _, term = name.partition("_")
            tag = f"{term}/{split}" if split in _SPLITS else name
            if name != "step":
                self._writer.add_scalar(tag, value, int(record["step"]))

    def _draw(self, training: Training) -> None:
        assert self._pictures is not None
        try:
            drawn = self._pictures.draw()
        except Exception as error:
            if not isinstance(error, Unsupported) and raised_in_pair(error) is None:
                raise
            warnings.warn(f"TensorBoard shows no pictures: {first_line(error)}", stacklevel=2)
            self._pictures = None
            return
        for name, images in drawn.items():
            self._writer.add_images(name, images, training.step)
        self._drawn = training.step

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._forget()
