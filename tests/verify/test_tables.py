"""Small tables and digits: held-out log P(X) against a mixture of normals of full covariance.

Both get the same rows to learn from and the same other rows to choose by: the mixture its number
of components, the pair the moment to stop. On the rest, differences are taken row by row; each
row is among the rest once. Digits are integers; the mixture is given them with uniform noise on
top, under which a mass function of the integers is a density too, constant over each unit cube,
and the same number.
"""

import functools
import warnings

import numpy as np
import pytest
import torch
from sklearn import datasets
from sklearn.mixture import GaussianMixture

import ppvae
from ppvae import diagnostics, likelihoods, networks, posteriors, priors
from ppvae.data.standardization import Standardization

COMPONENTS = range(1, 11)

pytestmark = pytest.mark.verify


def columns(network):
    """Normal means and worst values, standard errors with heavier tails between them."""
    normal, heavy = likelihoods.Normal, likelihoods.StudentT
    return likelihoods.Columns(network, [(10, normal), (10, heavy), (10, normal)])


BINOMIAL = functools.partial(likelihoods.Binomial, total_count=16)
CATEGORICAL = functools.partial(likelihoods.Categorical, levels=17)
TABLES = {
    # data, likelihood, latents, width, learning rate, folds
    "wine, Normal": (datasets.load_wine, likelihoods.Normal, 4, 64, 3e-3, 5),
    "wine, StudentT": (datasets.load_wine, likelihoods.StudentT, 4, 64, 3e-3, 5),
    "cancer, Normal": (datasets.load_breast_cancer, likelihoods.Normal, 20, 64, 2e-3, 5),
    "cancer, StudentT": (datasets.load_breast_cancer, likelihoods.StudentT, 20, 64, 2e-3, 5),
    "cancer, Columns": (datasets.load_breast_cancer, columns, 20, 64, 2e-3, 5),
    "digits, Normal": (datasets.load_digits, likelihoods.Normal, 10, 128, 1e-3, 2),
    "digits, Binomial": (datasets.load_digits, BINOMIAL, 10, 128, 1e-3, 2),
    "digits, Categorical": (datasets.load_digits, CATEGORICAL, 10, 128, 1e-3, 2),
}
INTEGERS = ("digits, Binomial", "digits, Categorical")


def parts_of(x, seed):
    """Return three fifths, one fifth and one fifth of the rows."""
    order = np.random.default_rng(seed).permutation(len(x))
    return [
        torch.as_tensor(x[rows]) for rows in np.split(order, [len(x) * 3 // 5, len(x) * 4 // 5])
    ]


def mixture_of(train, validation):
    fitted = []
    for components in COMPONENTS:
        mixture = GaussianMixture(components, random_state=0, n_init=2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of components that do not converge
            fitted.append(mixture.fit(train.numpy()))
    return max(fitted, key=lambda mixture: mixture.score(validation.numpy()))


def pair_of(train, likelihood, latent, width):
    network = functools.partial(networks.ResidualMLP, width=width, depth=1)
    features = train.shape[1]
    decoder = network(latent, likelihood(torch.nn.Identity()).outputs_for(features))
    return ppvae.VAE(
        priors.StandardNormal(latent),
        likelihood(decoder),
        posteriors.DiagonalNormal(network(features, 2 * latent)),
    )


def log_evidence(train, validation, test, likelihood, latent, width, rate):
    torch.manual_seed(0)
    pair = pair_of(train, likelihood, latent, width)
    ppvae.fit(
        pair,
        train.float(),
        validation=validation.float(),
        epochs=600,
        batch_size=64,
        optimizer=functools.partial(torch.optim.Adam, lr=rate),
        callbacks=[ppvae.inference.EarlyStopping(patience=30)],
        compile=False,
    )
    return diagnostics.evidence(pair, test.float(), draws=1000).log_evidence.values


@pytest.mark.parametrize("name", TABLES)
def test_more_likely_than_under_a_mixture_of_normals(name):
    load, likelihood, latent, width, rate, folds = TABLES[name]
    differences = []
    for fold in range(folds):
        parts = parts_of(load().data, fold)
        noise = torch.Generator().manual_seed(fold)
        dense = [p + torch.rand(p.shape, generator=noise) for p in parts]
        if load is not datasets.load_digits:
            dense = parts
        if name not in INTEGERS:
            by = Standardization.of(dense[0])
            dense = parts = [by(part) for part in dense]
        mixture = mixture_of(*dense[:2])
        theirs = mixture.score_samples(dense[2].numpy())
        ours = log_evidence(*parts, likelihood, latent, width, rate)
        differences.append(ours - theirs)
        print(
            f"\n{name}, fold {fold}: log P(X) {ours.mean():.2f}, mixture of "
            f"{mixture.n_components} {theirs.mean():.2f}",
            end="",
            flush=True,
        )
    every = np.concatenate(differences)
    error = every.std() / np.sqrt(len(every))
    print(f"\n{name}: {every.mean():.2f} +- {error:.2f} nats more")
    assert every.mean() > 0
