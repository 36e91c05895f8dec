"""Real handwritten digits that need no download."""

import torch
from torch.distributions import constraints

from ppvae.data.dataset import Dataset, split


def digits() -> Dataset:
    """Return scikit-learn's 1797 handwritten digits: 8 x 8 pixels of 17 grey levels, 0 to 16.

    A datapoint is a vector of 64 levels; the labels are the digits. Every tenth of the data,
    drawn once and for all, is for validation, and another for testing
    (Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998).

    Example:
        >>> digits().train.shape, digits().test.shape
        (torch.Size([1439, 64]), torch.Size([179, 64]))
    """
    # Imported here, scikit-learn does not add a second to the start of every program.
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return split(
        "digits",
        torch.as_tensor(images, dtype=torch.float32),
        constraints.integer_interval(0, 16),
        labels=torch.as_tensor(labels),
        image_shape=(8, 8),
    )
