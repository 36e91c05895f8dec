"""A classifier of real data, by which samples are judged."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppvae.data import Dataset, GivenClasses
from ppvae.diagnostics.known_cells import numbers_of
from ppvae.engine import Unsupported, seeded

_SPLITS = ("train", "validation", "test")

Values = NDArray[np.float64]


def class_classifier(
    data: Dataset, classes: GivenClasses, rows: int, seed: int
) -> tuple[Any, float]:
    """Return the better of two classifiers of the training data, and its accuracy on test data."""
    # Imported here because importing scikit-learn takes a second.
    with seeded(0):  # importing scikit-learn draws random numbers
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

    x, y = (
        {part: function(data.batch(part)) for part in _SPLITS}
        for function in (
            lambda batch: numbers_of(data, batch),
            lambda batch: classes.of(batch).cpu().numpy(),
        )
    )
    order = np.random.default_rng(seed).permutation(len(x["train"]))[:rows]
    chosen = y["train"][order]
    for numbers, part in ((chosen, "training"), (y["test"], "test")):
        if len(np.unique(numbers)) < 2:
            raise Unsupported(f"condition_use needs {part} data of at least 2 classes, got 1")
    fitted = [
        classifier.fit(x["train"][order], chosen)
        for classifier in (
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
            RandomForestClassifier(random_state=seed),
        )
    ]
    best = max(fitted, key=lambda each: each.score(x["validation"], y["validation"]))
    return best, float(best.score(x["test"], y["test"]))
