"""Does a pair make use of the classes that it is given?"""

import math

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from ppvae.data import Dataset, GivenClasses, given_classes
from ppvae.diagnostics.conditioning.classifiers import class_classifier
from ppvae.diagnostics.conditioning.information import information_terms, simulated_of_class
from ppvae.diagnostics.known_cells import numbers_of
from ppvae.diagnostics.latents import checked_dataset
from ppvae.engine import MEMORY, Pair, Unsupported, adapted, isolated, progress_bar

_FEWEST = 20  # samples of a class

Values = NDArray[np.float64]


def condition_use(
    pair: Pair,
    data: Dataset,
    *,
    samples: int = 1000,
    rows: int = 10_000,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> xr.Dataset:
    """Ask whether samples show the class y that was asked for, and how much y tells of them.

    Samples z ~ p(z|y), x ~ p(x|z, y) of each class are classified by the better, on validation
    data, of logistic regression and a random forest, which were fitted to the training data; so
    are real test data. That is the classification accuracy score of Ravuri and Vinyals,
    "Classification Accuracy Score for Conditional Generative Models", 2019, with the classifier
    fitted to real data and scored on samples.

    The same samples give the model's own information, in nats, with p(y) the frequencies of the
    training data:

        I(z; y)     = E[log p(z|y) - log sum_y' p(y') p(z|y')]
        I(x; y | z) = E[log p(x|z, y) - log sum_y' p(y'|z) p(x|z, y')]

    with p(y'|z) proportional to p(y') p(z|y'). Their sum, I(x, z; y), lies between 0, where the
    class is ignored, and the entropy of y. A prior without conditions has I(z; y) = 0. The
    expectations are over simulated z, x and y, not over the guide.

    Where both are large and samples do not show their class, the encoder puts data of a class
    where the prior seldom draws: z still carries y, against the prior.

    Args:
        pair: a pair that is called with classes.
        data: a dataset with a one-hot condition, such as `dataset.conditional()`; samples take
            their other conditions from test rows of their class.
        samples: number of samples, the same number of each class, at least 20 of each.
        rows: the largest number of training datapoints to fit the classifiers to.
        seed: of the draws, of the choice of rows, and of the forest.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        - `share`, of the samples of each class those that are classified as it, and
          `share_error`, dims `(class,)`; `agreement` and `agreement_error`, their mean by p(y);
        - `accuracy` and `accuracy_error` on real test data; `chance`, the agreement of samples
          that do not depend on y;
        - `prior_information` = I(z; y) and `decoder_information` = I(x; y | z), with their Monte
          Carlo errors under the suffix `_error`, and `class_entropy`, in nats.

        Errors of shares are binomial, with one more sample of each kind, so that they are not 0
        where all or none agree.

    Raises:
        TypeError: if `data` is no dataset.
        Unsupported: if the data have no one-hot condition, training or test data are of one
            class, or the model's structure does not allow it.
        ValueError: if a number is below 1.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits().conditional()
        >>> used = condition_use(pairs.assemble(digits, latent=2), digits, samples=200, rows=300)
        >>> used.sizes["class"], bool(used.accuracy > 0.8)
        (10, True)
    """
    data = checked_dataset("condition_use", data)
    if samples < 1 or rows < 1:
        raise ValueError(
            f"condition_use needs samples >= 1 and rows >= 1, got {samples} and {rows}"
        )
    classes = given_classes(data)
    if classes is None:
        raise Unsupported(
            f"condition_use needs data with a one-hot condition, dataset {data.name!r} has none; "
            "pass dataset.conditional() to fit and here"
        )
    frequencies = _frequencies(data, classes)
    with isolated(pair, seed):
        classifier, accuracy = class_classifier(data, classes, rows, seed)
    pair, batch = adapted(pair, data, split="test", seed=seed)
    each = max(_FEWEST, math.ceil(samples / classes.count))
    shares, predicted, terms = [], [], []
    with (
        isolated(pair, seed),
        progress_bar(total=classes.count, unit=" classes", progress=progress) as bar,
    ):
        for number in range(classes.count):
            found = [
                (numbers_of(data, part), information_terms(part, model, classes, frequencies))
                for part, model in simulated_of_class(pair, batch, classes, number, each, memory)
            ]
            x, information = (np.concatenate(part) for part in zip(*found, strict=True))
            guessed = classifier.predict(x)
            shares.append((guessed == number).mean())
            predicted.append(np.bincount(guessed, minlength=classes.count) / len(guessed))
            terms.append(information)
            bar.update()
    share = np.array(shares)
    error = _binomial_error(share, each)
    means = np.stack([part.mean(0) for part in terms])
    errors = np.stack([part.std(0, ddof=1) for part in terms]) / math.sqrt(each)
    information, information_error = frequencies @ means, np.sqrt(frequencies**2 @ errors**2)
    known = frequencies[frequencies > 0]
    scalars = {
        "agreement": frequencies @ share,
        "agreement_error": math.sqrt(float(frequencies**2 @ error**2)),
        "accuracy": accuracy,
        "accuracy_error": float(_binomial_error(np.array(accuracy), len(data.test))),
        "chance": frequencies @ (frequencies @ np.stack(predicted)),
        "prior_information": information[0],
        "prior_information_error": information_error[0],
        "decoder_information": information[1],
        "decoder_information_error": information_error[1],
        "class_entropy": float(-(known * np.log(known)).sum()),
    }
    return xr.Dataset(
        {
            "share": ("class", share),
            "share_error": ("class", error),
            **{name: float(value) for name, value in scalars.items()},
        },
        {"class": list(classes.names)},
        {"samples": each * classes.count, "test": len(data.test), "units": "nats, shares"},
    )


def _binomial_error(share: Values, count: int) -> Values:
    adjusted = (share * count + 1) / (count + 2)
    error: Values = np.sqrt(adjusted * (1 - adjusted) / count)
    return error


def _frequencies(data: Dataset, classes: GivenClasses) -> Values:
    numbers = classes.of(data.batch("train"))
    counts = torch.bincount(numbers, minlength=classes.count).double().cpu().numpy()
    frequencies: Values = counts / counts.sum()
    return frequencies
