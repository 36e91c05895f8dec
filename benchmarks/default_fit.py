"""The default fit beside the one before it: held-out ELBO, log P(X), posterior KL, and seconds.

    python -m benchmarks.default_fit [--seeds 0 1 2 3 4] [--data digits wine] [--mnist FOLDER]

log P(X) is annealed from the guide (`diagnostics.ais`), over a fixed subset of the test split. The
other terms are over the same rows. All is in nats per datapoint; the means over the seeds have
their standard errors, and so have the paired differences from the fit before. Seconds are of the
processor, without compilation. MNIST needs the folder of its four IDX files; the first 5000 of its
training images are taken.
"""

import argparse
import functools
import logging
import time
from dataclasses import replace

import numpy as np
import torch
from sklearn import datasets

import ppvae
from ppvae import data, diagnostics, likelihoods, pairs, posteriors
from ppvae.engine import seeded
from ppvae.inference import CosineDecay, EarlyStopping

ROWS = 60  # of the test split, for what is measured
ANNEALING = {"temperatures": 100, "chains": 8, "leapfrogs": 5, "progress": False}
TERMS = ("ELBO", "log P(X)", "posterior KL", "seconds")


def sklearn_table(name):
    return lambda _: data.table(getattr(datasets, f"load_{name}")(as_frame=True).data)


def mnist(folder, rows=5000, held_out=1000):
    """Return the first training images of MNIST, and some for validation."""
    whole = data.mnist(folder)
    parts = {"train": whole.train[:rows], "validation": whole.validation[:held_out]}
    return replace(whole, **parts, labels={}, rows={})


DATA = {
    "digits": lambda _: data.digits(),
    "mnist": mnist,
    "wine": sklearn_table("wine"),
    "breast_cancer": sklearn_table("breast_cancer"),
}


def constant(rate=1e-3, patience=None):
    """Adam at a constant rate for 100 epochs, and more while the validation ELBO rises."""
    stops = [] if patience is None else [EarlyStopping(patience)]
    return {"optimizer": functools.partial(torch.optim.Adam, lr=rate), "callbacks": stops}


def cosine(epochs, optimizer=torch.optim.Adam, **options):
    """The default, for another number of epochs or with another optimizer."""
    return {
        "optimizer": functools.partial(optimizer, **{"lr": 3e-3, **options}),
        "schedule": CosineDecay,
        "epochs": epochs,
        "callbacks": [EarlyStopping(None)],
    }


VARIANTS = {
    "before": constant(),
    "default": {},
    "best weights": constant(patience=20),
    "150 epochs": cosine(150),
    "weight decay": cosine(100, torch.optim.AdamW, weight_decay=0.1),
    "20 latents": {},
    "full rank": {},
    "logistic mixture": {},  # as likelihood of the digits
    "augmented": cosine(25),  # of three more copies of the digits, with their likelihood's noise
    "model samples": {},
}


def parts_of(dataset, variant):
    """Return what a variant's pair is assembled of, beside the defaults."""
    if variant == "20 latents":
        return {"latent": 20}
    if variant == "full rank":
        return {"posterior": posteriors.FullRankNormal}
    if variant == "logistic mixture":
        mixture = likelihoods.DiscretizedLogisticMixture
        highest = int(dataset.support.upper_bound)
        return {"likelihood": functools.partial(mixture, components=3, highest=highest)}
    return {}


def augmented(dataset, copies=3):
    """Return counts with copies that their own likelihood has blurred: binomial of each level."""
    highest = int(dataset.support.upper_bound)
    levels = torch.distributions.Binomial(highest, dataset.train / highest)
    train = torch.cat([dataset.train, *levels.sample((copies,))])
    return replace(dataset, train=train, labels={}, rows={})


def encoder_trained_again(pair, dataset, seed, times=5, epochs=20):
    """Train the encoder alone, on samples of the model beside the data."""
    others = [*pair.prior.parameters(), *pair.likelihood.parameters()]
    for parameter in others:
        parameter.requires_grad_(False)
    samples = pair.sample(times * len(dataset.train)).to(dataset.train)
    both = replace(dataset, train=torch.cat([dataset.train, samples]), labels={}, rows={})
    ppvae.fit(pair, both, seed=seed, compile=False, progress=False, **cosine(epochs))
    for parameter in others:
        parameter.requires_grad_(True)


def measured(dataset, variant, seed):
    """Return the `TERMS` of one training, and how it ended."""
    with seeded(seed):
        pair = pairs.assemble(dataset, **parts_of(dataset, variant))
        given = augmented(dataset) if variant == "augmented" else dataset
    begun = time.process_time()
    fit = ppvae.fit(pair, given, seed=seed, compile=False, progress=False, **VARIANTS[variant])
    if variant == "model samples":
        with seeded(seed):
            encoder_trained_again(pair, dataset, seed)
    seconds = time.process_time() - begun
    chosen = torch.randperm(len(dataset.test), generator=torch.Generator().manual_seed(0))[:ROWS]
    rows = tuple(part[chosen] for part in dataset.batch("test"))
    elbo = float(diagnostics.evidence(pair, rows, draws=500).elbo.mean())
    annealed = diagnostics.ais(pair, rows, **ANNEALING)
    evidence = float(annealed.log_evidence.mean())
    return np.array([elbo, evidence, evidence - elbo, seconds]), fit


def shown(values):
    """Return the mean over seeds with its standard error, for each term."""
    error = values.std(0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else values[0] * np.nan
    return " | ".join(f"{m:.2f} +- {e:.2f}" for m, e in zip(values.mean(0), error, strict=True))


def main(seeds, names, variants, folder):
    logging.disable(logging.WARNING)
    measured(
        data.table(datasets.load_iris(as_frame=True).data), "before", 0
    )  # what torch does once
    for name in names:
        dataset = DATA[name](folder)
        found = {variant: [] for variant in variants}
        for seed in seeds:
            for variant in variants:
                terms, fit = measured(dataset, variant, seed)
                found[variant].append(terms)
                said = f"{fit.reason}, {fit.steps} steps, kept {fit.kept_step}"
                print(name, variant, seed, *(f"{term:.2f}" for term in terms), said, flush=True)
        print(f"\n| {name} | {' | '.join(TERMS)} |\n|{'---|' * (len(TERMS) + 1)}")
        base = np.array(found["before"])
        for variant, rows in found.items():
            rows = np.array(rows)
            print(f"| {variant} | {shown(rows)} |")
            if variant != "before":
                ratio = rows[:, 3].sum() / base[:, 3].sum()
                print(f"| less before | {shown(rows - base)}, ratio {ratio:.2f} |")
        print(flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--data", nargs="+", choices=DATA, default=["digits"])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["before", "default"])
    parser.add_argument("--mnist", metavar="FOLDER")
    chosen = parser.parse_args()
    main(chosen.seeds, chosen.data + ["mnist"] * bool(chosen.mnist), chosen.variants, chosen.mnist)
