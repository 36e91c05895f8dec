"""Simulated counts of cells: our pair against scVI of the same architecture.

    PYTHONPATH=<where scvi-tools is> python -m benchmarks.counts_against_scvi [--peer]

Counts of two groups of cells are zero-inflated and negative binomial, with library sizes that are
known. Compared are held-out log P(X) by importance sampling, in nats a cell, and the correlation
of estimated and true log fold changes between the groups. Both have 10 latents, one hidden layer
of 128, a zero-inflated negative binomial likelihood with the observed size, minibatches of 128
and as many epochs.
"""

import argparse
import functools
import importlib

import numpy as np
import torch


def simulated(cells=2000, genes=200, seed=0):
    """Return counts, groups and the true log fold change of each gene's share."""
    random = np.random.default_rng(seed)
    group = random.integers(0, 2, cells)
    change = random.normal(0, 1, genes) * (random.random(genes) < 0.4)
    programs = random.normal(0, 0.4, (4, genes))
    log_mean = random.normal(0, 1.2, genes) + random.normal(size=(cells, 4)) @ programs
    share = np.exp(log_mean + group[:, None] * change)
    share /= share.sum(1, keepdims=True)
    size = np.exp(random.normal(np.log(1500), 0.4, cells))
    r = random.gamma(4.0, 0.75, genes)
    rate = random.gamma(r, size[:, None] * share / r)
    counts = random.poisson(rate) * (random.random((cells, genes)) > 0.15)
    truth = np.log(share[group == 1].mean(0) / share[group == 0].mean(0))
    return counts.astype(np.int64), group, truth


def ours(dataset, epochs, draws):
    import ppvae
    from ppvae import diagnostics, inference, pairs
    from ppvae.likelihoods import ZeroInflatedNegativeBinomial
    from ppvae.networks import MLP

    torch.manual_seed(0)
    pair = pairs.assemble(
        dataset,
        network=functools.partial(MLP, hidden=(128,)),
        likelihood=ZeroInflatedNegativeBinomial,
    )
    ppvae.fit(
        pair,
        dataset,
        epochs=epochs,
        callbacks=[inference.EarlyStopping(45)],
        progress=False,
        compile=False,
    )
    table = diagnostics.evidence(pair, dataset, draws=draws, progress=False, compile=False)
    x, size = dataset.batch("train")
    z = pair.encode(x, size).mean
    means = pair.decode(z, torch.ones_like(size)).mean
    label = dataset.labels["train"]
    change = (means[label == 1].mean(0) / means[label == 0].mean(0)).log().numpy()
    return float(table["log_evidence"].mean()), change


def peer(dataset, epochs, draws, dispersion, warmup):
    import anndata
    import pandas

    scvi = importlib.import_module("scvi")  # of the package scvi-tools

    def of(*parts):
        x = np.concatenate([getattr(dataset, part).numpy() for part in parts])
        about = pandas.DataFrame(index=[f"{parts[0]}{row}" for row in range(len(x))])
        return anndata.AnnData(x, about)

    scvi.settings.seed = 0
    known, held_out = of("train", "validation"), of("test")
    scvi.model.SCVI.setup_anndata(known)
    model = scvi.model.SCVI(known, dispersion=dispersion, gene_likelihood="zinb")
    n = len(known)
    model.train(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        train_size=len(dataset.train) / n,
        shuffle_set_split=False,
        early_stopping=True,
        enable_progress_bar=False,
        # Of its default, 400 epochs, 100 would end at a quarter of the KL term.
        plan_kwargs={"n_epochs_kl_warmup": warmup},
    )
    evidence = model.get_marginal_ll(held_out, n_mc_samples=draws)
    shares = np.asarray(model.get_normalized_expression(known))[: len(dataset.train)]
    label = dataset.labels["train"].numpy()
    change = np.log(shares[label == 1].mean(0) / shares[label == 0].mean(0))
    return float(evidence), change


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--peer", action="store_true")
    given = parser.parse_args()
    from scipy.sparse import csr_array

    from ppvae import data

    for seed in range(given.seeds):
        x, group, truth = simulated(seed=seed)
        dataset = data.counts(csr_array(x), label=group, sparse=False)
        runs = {"ppvae": functools.partial(ours, dataset, given.epochs, given.draws)}
        if given.peer:
            for dispersion in ("gene", "gene-cell"):
                for warmup in (400, 20):
                    runs[f"scVI, dispersion={dispersion}, warm-up {warmup}"] = functools.partial(
                        peer, dataset, given.epochs, given.draws, dispersion, warmup
                    )
        for name, run in runs.items():
            evidence, change = run()
            correlation = np.corrcoef(change, truth)[0, 1]
            print(
                f"seed {seed}, {name}: log P(X) {evidence:.2f} nats a cell, "
                f"log fold changes correlate {correlation:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
