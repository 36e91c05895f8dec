"""How `fit` trains where neither length nor optimizer is asked for."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from pyro.optim import PyroOptim

from ppvae.data import Dataset
from ppvae.inference.callbacks import EarlyStopping
from ppvae.inference.cosine_decay import CosineDecay
from ppvae.inference.learning_rate import Schedule
from ppvae.inference.state import Callback
from ppvae.inference.steps import Constructor

RATE = 3e-3
"""The first learning rate of the default training of a dataset."""

PATIENCE = 50
"""After how many evaluations without a rise the default training of a dataset stops."""

_ADAM = functools.partial(torch.optim.Adam, lr=1e-3)


class Recipe(NamedTuple):
    """An optimizer, its schedule, and callbacks."""

    optimizer: Constructor | PyroOptim
    schedule: Schedule | None
    callbacks: Sequence[Callback]


def recipe_for(
    data: object,
    optimizer: Constructor | PyroOptim | None,
    schedule: Schedule | None,
    callbacks: Sequence[Callback],
    length_given: bool,
) -> Recipe:
    """Return what a training is done with, given what was asked for.

    A dataset gets the default training if neither its length, nor optimizer, nor schedule is
    given: Adam, whose rate falls along a cosine, and the best weights by the validation split. All
    else gets Adam with a constant rate, as the length that it needs is not known.
    """
    if length_given or optimizer or schedule or not isinstance(data, Dataset):
        return Recipe(optimizer or _ADAM, schedule, callbacks)
    stops = any(isinstance(callback, EarlyStopping) for callback in callbacks)
    keeping = [] if stops or not len(data.validation) else [EarlyStopping(PATIENCE)]
    adam = functools.partial(torch.optim.Adam, lr=RATE)
    return Recipe(adam, CosineDecay, [*callbacks, *keeping])
