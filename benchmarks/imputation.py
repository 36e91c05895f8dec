"""Filling in removed cells, beside what scikit-learn has for it.

    python -m benchmarks.imputation [--data breast_cancer wine] [--masks 5] [--steps 1350]

Of each table half the cells are removed, at random; and then a quarter (`--not_at_random`), of the
cells above the mean of their column alone. All methods see the same table of all rows with gaps,
each column standardized by its known cells, and fill in the same cells: there are no other rows.
The squared errors are in variances of the complete columns. Coverage is the share of missing cells
within their interval of 90 %.

The pair is a `MissingDataVAE` of 10 latents with small networks and one learned scale a column,
trained by the bound of 10 importance samples; these and the number of steps were chosen on a mask
of breast_cancer that is not among those measured (seed 100). With `--published` it has the
networks and the Student-t likelihood of its paper.
"""

import argparse
import functools
import time
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401, makes the next one
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from torch import nn

import ppvae
from ppvae import data, inference, likelihoods, networks, pairs
from ppvae.engine import seeded

SHARE = 0.5  # of the cells is removed at random
LATENT = 10
RIVALS = {
    "column means": SimpleImputer,
    "KNNImputer": KNNImputer,
    "IterativeImputer": functools.partial(IterativeImputer, random_state=0),
}
METHODS = (*RIVALS, "MissingDataVAE")


def whole(dataset):
    """Return all rows, in the order of the table, and which cells are known."""
    splits = ("train", "validation", "test")
    order = torch.cat([dataset.row_numbers(part) for part in splits]).argsort()
    x = torch.cat([getattr(dataset, part) for part in splits])[order]
    if not dataset.seen:
        return x, torch.ones_like(x)
    return x, torch.cat([dataset.seen[part] for part in splits])[order]


def small(inputs, outputs):
    """A network whose one hidden layer is narrow in the decoder, which must not learn rows."""
    return networks.MLP(inputs, outputs, (32 if inputs == LATENT else 64,), nn.Tanh)


def built(dataset, published):
    """Return a pair that is not yet trained."""
    scale = likelihoods.LearnedScale(dataset.event_shape.numel(), initial=0.7)
    likelihood, network = functools.partial(likelihoods.Normal, scale=scale), small
    if published:
        likelihood = likelihoods.StudentT
        network = functools.partial(networks.MLP, hidden=(128, 128, 128), activation=nn.Tanh)
    return pairs.MissingDataVAE.of(dataset, latent=LATENT, network=network, likelihood=likelihood)


def trained(dataset, x, seen, seed, *, steps, particles, rate, published):
    """Return a pair trained on all rows with gaps."""
    with seeded(seed):
        pair = built(dataset, published)
    ppvae.fit(
        pair,
        (x, seen),
        steps=steps,
        batch_size=64,
        objective=inference.ImportanceWeighted_ELBO(particles),
        optimizer=functools.partial(torch.optim.Adam, lr=rate),
        seed=seed,
    )
    return pair


def filled_by(imputer, x, seen):
    """Return a table filled in by one of scikit-learn's, which gets standardized columns."""
    by = data.Standardization.of(x, seen)
    gaps = torch.where(seen > 0, by(x), torch.nan).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return by.invert(torch.as_tensor(imputer().fit_transform(gaps), dtype=x.dtype))


def measured(name, share, at_random, seed, draws=2000, **options):
    """Return the squared error of each method, and the coverage and width of intervals."""
    load = getattr(data, name)
    dataset = load(missing=share, at_random=at_random, seed=seed)
    truth, _ = whole(load())
    x, seen = whole(dataset)
    gone, scale = seen == 0, truth.double().std(0, correction=0)

    def error(filled):
        return float(((filled - truth) / scale)[gone].square().mean())

    errors = {rival: error(filled_by(made, x, seen)) for rival, made in RIVALS.items()}
    start = time.perf_counter()
    found = trained(dataset, x, seen, seed, **options).impute(x, seen, draws=draws, seed=seed)
    errors["MissingDataVAE"] = error(found.value)
    inside = (found.low <= truth) & (truth <= found.high)
    return errors, float(inside[gone].double().mean()), time.perf_counter() - start


def main(names, masks, not_at_random, **options):
    for name in names:
        for share, at_random in ((SHARE, True), (not_at_random, False)):
            title = f"{name}, {share:.0%} {'at random' if at_random else 'above the mean'}"
            print(f"\n{title}: squared error of the missing cells, coverage of 90 %, seconds")
            print(*(f"{method:>16}" for method in METHODS), "  coverage  seconds")
            rows = []
            for seed in range(masks):
                errors, coverage, seconds = measured(name, share, at_random, seed, **options)
                rows.append([errors[method] for method in METHODS] + [coverage])
                print(*(f"{value:16.4f}" for value in rows[-1]), f"{seconds:8.0f}", flush=True)
            print(*(f"{value:16.4f}" for value in np.mean(rows, 0)), "    mean")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", dest="names", nargs="+", default=["breast_cancer", "wine"])
    parser.add_argument("--masks", type=int, default=5)
    parser.add_argument("--not_at_random", type=float, default=0.25)
    parser.add_argument("--steps", type=int, default=1350, help="of 64 rows each")
    parser.add_argument("--particles", type=int, default=10)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--published", action="store_true")
    main(**vars(parser.parse_args()))
