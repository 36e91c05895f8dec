"""Whether the ELBO was still rising when a training ended."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ppvae.inference.history import Record

EARLIER = "; stop earlier (EarlyStopping)"
"""The advice where the ELBO fell; of no use where the best weights are kept."""

_FEWEST = 10  # evaluations, for a line through a fifth of them to say something
_SMALL = 0.05  # nats a datapoint: a fifth more of training is not worth less than that
_FALLEN = 0.01  # of its highest value, where a learning rate has ended
_ERRORS = 2.0  # standard errors that a slope must exceed


class Trend(NamedTuple):
    """The trend of the ELBO over the last fifth of a training.

    Attributes:
        converged: whether the ELBO was neither rising nor falling; None where that is not known.
        rising: whether it was rising.
        sentence: what was found, and what to do.
    """

    converged: bool | None
    rising: bool
    sentence: str


def trend_of(records: Sequence[Record]) -> Trend:
    """Fit a line to the ELBO over the last fifth of the evaluations, at least 5 of them.

    It rises if the line rises there by more than 0.05 nats per datapoint and by more than two
    standard errors. The ELBO is that of the validation data, if there are any. Where the learning
    rate has fallen to less than a hundredth, a rise does not say that more training helps.
    """
    if len(records) < _FEWEST:
        sentence = f"convergence not judged: {len(records)} evaluations, at least {_FEWEST} needed"
        return Trend(None, False, sentence)
    window = records[-max(len(records) // 5, _FEWEST // 2) :]
    if len({record["kl_weight"] for record in window}) > 1:
        return Trend(None, False, "convergence not judged: the KL weight changed until the end")
    split = "validation" if "validation_elbo" in window[-1] else "training"
    name = {"validation": "validation_elbo", "training": "train_elbo"}[split]
    elbo = np.array([record.get(name, -record["train_loss"]) for record in window])
    steps = np.array([record["step"] for record in window], dtype=float)
    centered = steps - steps.mean()
    slope = (centered @ elbo) / (centered @ centered)
    residuals = elbo - elbo.mean() - slope * centered
    variance = (residuals @ residuals) / (len(elbo) - 2) / (centered @ centered)
    length = steps[-1] - steps[0]
    rise, least = slope * length, max(_SMALL, _ERRORS * math.sqrt(variance) * length)
    amount = f"by {abs(rise):.2g} nats per datapoint over the last {length:.0f} steps"
    rates = [record.get("learning_rate", 1.0) for record in records]
    if rise > least and rates[-1] < _FALLEN * max(rates):
        # As the rate falls, the noise of the steps does: that alone raises the ELBO.
        return Trend(
            None, False, f"the {split} ELBO rose {amount}, as the learning rate fell to 0"
        )
    if rise > least:
        return Trend(False, True, f"not converged: the {split} ELBO rose {amount}; train longer")
    if rise < -least:
        return Trend(False, False, f"the {split} ELBO fell {amount}{EARLIER}")
    return Trend(
        True,
        False,
        f"the {split} ELBO changed by less than {least:.2g} nats per datapoint over the last "
        f"{length:.0f} steps",
    )
