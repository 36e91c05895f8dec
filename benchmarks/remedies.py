"""Does each remedy that `diagnose` names help? A fault is made, the remedy's own text is run.

    python -m benchmarks.remedies [--epochs 60] [--only likelihood ...]

What is printed is measured on held-out data before and after. Trainings have the same number of
epochs before and after, except with early stopping.
"""

import argparse
import functools
import time

import torch

import ppvae
from ppvae import data, diagnostics, pairs
from ppvae.diagnostics import Effort
from ppvae.diagnostics.checks import (
    Subject,
    conditions,
    evidence,
    latent_space,
    model,
    overfitting,
    remedies,
)
from ppvae.priors import StandardNormal

EFFORT = Effort(datapoints=179, draws=200, samples=179, labeled=1000, searched=40)
DIGITS = data.digits()
MANY = 400  # epochs, with which the digits are overfitted


def found(check, name, pair, dataset):
    """Return the finding of a check by its name."""
    subject = Subject(pair, dataset.batch("test"), dataset, EFFORT, 0, False)
    return next(finding for finding in check(subject) if finding.name == name)


def elbo(pair, dataset):
    """Return the ELBO of the test split."""
    return float(diagnostics.evidence(pair, dataset, draws=50, progress=False).elbo.mean())


def trained(dataset, kl_weight=1.0, epochs=None, **parts):
    """Train a VAE of `assemble`."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pair = pairs.assemble(dataset, **parts)
    options = {} if epochs is None else {"epochs": epochs}
    ppvae.fit(pair, dataset, kl_weight=kl_weight, **options)
    return pair


def family():
    """A guide of independent latents; on the digits the encoder loses more."""
    measure = functools.partial(found, evidence.search, "gaps")
    return trained(DIGITS), DIGITS, measure, "what the guide misses and who loses it"


def early_stopping():
    """400 epochs on 1437 digits."""
    pair = trained(DIGITS, epochs=MANY)
    measure = functools.partial(found, overfitting.held_out, "held-out data")
    return pair, DIGITS, measure, "the ELBO of training and held-out digits"


def likelihood():
    """Binomial pixels."""
    measure = functools.partial(found, model.predictions, "likelihood (PIT)")
    return trained(DIGITS), DIGITS, measure, "pixels off the predictive distribution"


def samples():
    """Binomial pixels, seen in samples."""
    measure = functools.partial(found, model.samples, "samples")
    return trained(DIGITS), DIGITS, measure, "samples told from digits"


def collapse():
    """A KL weight so high that no latent is used."""
    pair = trained(DIGITS, kl_weight=1000.0)
    measure = functools.partial(found, latent_space.latents, "latents in use")
    return pair, DIGITS, measure, "latents in use"


def spare_latents():
    """More latents than the data need."""
    pair = trained(DIGITS, latent=60)
    measure = functools.partial(found, latent_space.latents, "latents in use")
    return pair, DIGITS, measure, "latents in use"


def prior():
    """A KL weight so low that the latents do not follow the prior."""
    pair = trained(DIGITS, latent=4, kl_weight=0.05)
    measure = functools.partial(found, latent_space.latents, "aggregate and prior")
    return pair, DIGITS, measure, "distance between aggregate and prior"


def classes():
    """Classes given to a pair with one prior for all."""
    dataset = DIGITS.conditional()
    pair = trained(dataset, prior=StandardNormal)
    measure = functools.partial(found, conditions.classes, "classes")
    return pair, dataset, measure, "samples that show the class asked for"


def labels():
    """One latent for ten classes."""
    pair = trained(DIGITS, latent=1)
    measure = functools.partial(found, latent_space.labels, "labels (probes)")
    return pair, DIGITS, measure, "labels predicted from the latents"


FAULTS = (
    family,
    early_stopping,
    likelihood,
    samples,
    collapse,
    spare_latents,
    prior,
    classes,
    labels,
)


def main():
    """Print what was measured before and after each remedy."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--only", nargs="*")
    chosen = parser.parse_args()
    short = {"epochs": chosen.epochs, "compile": False, "progress": False}
    fit = ppvae.inference.fit

    def of_epochs(*arguments, **options):
        if options.get("callbacks"):  # early stopping: there is something to stop
            options["epochs"] = MANY
        return fit(*arguments, **(short | options))

    ppvae.fit = pairs.refitting.fit = of_epochs
    for fault in FAULTS:
        if chosen.only and fault.__name__ not in chosen.only:
            continue
        start = time.perf_counter()
        pair, dataset, measure, what = fault()
        before = measure(pair, dataset)
        print(f"\n{fault.__name__}: {fault.__doc__} Measured: {what}")
        print(f"  before  {before.verdict.value:5}ELBO {elbo(pair, dataset):.2f}; {before.answer}")
        if before.remedy is None:
            print("  no remedy is named", flush=True)
            continue
        remedy = before.remedy
        if fault is family:  # which is named only where the family loses most
            subject = Subject(pair, dataset.batch("test"), dataset, EFFORT, 0, False)
            remedy = remedies.richer_family(subject, "the family loses", 0.0)
        names = {"ppvae": ppvae, "pair": pair, "data": dataset}
        torch.manual_seed(0)
        exec(remedy.call, names)
        for line in remedy.lines():
            print(f"  > {line}")
        after = measure(names["pair"], dataset)
        value = elbo(names["pair"], dataset)
        print(f"  after   {after.verdict.value:5}ELBO {value:.2f}; {after.answer}")
        print(f"  {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
