"""Records what the library computes, so that two versions can be compared bit for bit.

    python -m benchmarks.numbers before.npz
    python -m benchmarks.numbers after.npz --against before.npz

The second exits with 1 and names the arrays that differ, with the largest difference.
"""

import argparse
import contextlib
import functools
import io
import os
import re
import tempfile
import warnings

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO

import ppvae
from ppvae import data, diagnostics, inference, likelihoods, networks, pairs, posteriors, priors
from ppvae.cli import main as command_line
from ppvae.engine.compilation import replay
from ppvae.inference import training

OBJECTIVES = {
    "elbo": Trace_ELBO,
    "closed-form KL": TraceMeanField_ELBO,
    "IWAE": lambda: inference.ImportanceWeighted_ELBO(4),
    "IWAE, doubly reparameterized": lambda: inference.ImportanceWeighted_ELBO(
        4, doubly_reparameterized=True
    ),
    "CIWAE": lambda: inference.CombinedImportanceWeighted_ELBO(4, elbo_weight=0.5),
    "PIWAE": lambda: inference.PartiallyImportanceWeighted_ELBO(3, repeats=2),
    "Renyi": lambda: inference.VariationalRenyi_ELBO(0.5, 4),
    "sticking the landing": inference.StickingTheLanding_ELBO,
    "free bits": lambda: inference.FreeBits_ELBO(0.1),
    "total correlation": lambda: inference.TotalCorrelation_ELBO(1437, 3.0),
    "MMD": lambda: inference.MaximumMeanDiscrepancy_ELBO(10.0),
}
OPTIMIZERS = {
    "SGD": functools.partial(torch.optim.SGD, lr=1e-4, momentum=0.9),
    "RMSprop": functools.partial(torch.optim.RMSprop, lr=1e-3),
    "AdamW": functools.partial(torch.optim.AdamW, lr=1e-3),
    "Adamax": functools.partial(torch.optim.Adamax, lr=1e-3),
}
WAYS = {"eager": {"compile": False}, "replayed": {"compile_from": 1}}


class Mixture(torch.nn.Module):
    """A pair with a discrete latent of the model alone, which is summed out."""

    def __init__(self):
        super().__init__()
        self.loc = torch.nn.Parameter(torch.tensor([[-1.0, 0.0], [1.0, 0.5]]))
        self.encoder = torch.nn.Linear(2, 4)

    def model(self, x):
        pyro.module("mixture", self)
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(torch.tensor([0.4, 0.6])))
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            loc = z + pyro.ops.indexing.Vindex(self.loc)[k]
            pyro.sample("x", dist.Normal(loc, 0.5).to_event(1), obs=x)

    def guide(self, x):
        pyro.module("mixture", self)
        with pyro.plate("data", len(x)):
            loc, log_scale = self.encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


class Record(dict):
    """Arrays by name."""

    def put(self, name, value):
        """Keep a dataset, an array, a tensor or a pair's parameters; leave out what is refused."""
        if callable(value) and not isinstance(value, torch.nn.Module):
            try:
                value = value()
            except ppvae.Unsupported:
                return
        if isinstance(value, torch.nn.Module):
            value = value.state_dict()
        if hasattr(value, "to_dataset"):
            value = value.to_dataset()
        if hasattr(value, "items"):
            for part, values in value.items():
                self[f"{name}/{part}"] = np.asarray(values)
        else:
            self[name] = np.asarray(value)


def small_pair():
    torch.manual_seed(1)
    return ppvae.VAE(
        prior=priors.StandardNormal(3),
        likelihood=likelihoods.Binomial(networks.MLP(3, 64), total_count=16),
        posterior=posteriors.DiagonalNormal(networks.MLP(64, 6)),
    )


def trainings(record, digits):
    """Record trainings of 50 steps by every objective and optimizer, eager and replayed."""
    for way, compiled in WAYS.items():
        for name, objective in OBJECTIVES.items():
            pair = small_pair()
            options = {"steps": 50, "batch_size": 64, "objective": objective(), **compiled}
            fit = ppvae.fit(pair, digits, **options)
            record.put(f"{name}, {way}", pair)
            record.put(f"{name}, {way}, history", fit.history.drop_vars("seconds"))
        for name, optimizer in OPTIMIZERS.items():
            pair = small_pair()
            options = {"optimizer": optimizer, "clip_norm": 100.0, "seed": 3, **compiled}
            warmup = inference.LinearWarmup(steps=20)
            ppvae.fit(pair, digits, steps=50, batch_size=64, kl_weight=warmup, **options)
            record.put(f"{name}, {way}", pair)


def measurements(record, name, pair, x):
    """Record every diagnostic of a pair on some data."""
    d, few = diagnostics, {"temperatures": 20, "chains": 4}
    statistic = {"mean": lambda batch: batch.mean(-1)}

    def put(what, measure):
        record.put(f"{name}, {what}", measure)

    put("weights", lambda: d.weights(pair, x, draws=100))
    put("evidence", lambda: d.evidence(pair, x, draws=200))
    put("pareto_k", lambda: d.pareto_k(pair, x, draws=200))
    put("ais", lambda: d.ais(pair, x[:5], **few))
    put("ais from the prior", lambda: d.ais(pair, x[:5], from_guide=False, **few))
    put("bdmc", lambda: d.bdmc(pair, x[:5], simulations=5, **few))
    put("bounds", lambda: d.bound_table(pair, x[:5], draws=50, **few))
    put("gaps", lambda: d.gaps(pair, x[:8], steps=40, draws=50))
    put("ranks", lambda: d.sbc(pair, x, simulations=60, draws=19).ranks)
    put("sbc", lambda: d.sbc(pair, x, simulations=60, draws=19).p_value)
    put("vsbc", lambda: d.vsbc(pair, x, simulations=60, draws=19).probability)
    levels = {"draws": 199, "levels": (0.1, 0.5, 0.9)}
    put("coverage", lambda: d.coverage(pair, x, simulations=60, **levels).coverage)
    put("surgery", lambda: d.surgery(pair, x).terms)
    put("information", lambda: d.surgery(pair, x).dimension_information)
    put("pit", lambda: d.pit(pair, x, draws=19).p_value)
    put("active units", lambda: d.active_units(pair, x).variance)
    put("KL", lambda: d.kl_per_dimension(pair, x))
    put("outliers", lambda: d.outlier_score(pair, x[:10], reference=x[10:30], draws=20))
    put("mmd", lambda: d.mmd(pair, x))
    put("classifier", lambda: d.classifier_two_sample(pair, x, permutations=20))
    for check in (d.prior_predictive_check, d.posterior_predictive_check):
        put(check.__name__, lambda check=check: check(pair, x, statistics=statistic, draws=20))
    for group in ("posterior", "log_likelihood", "sample_stats", "prior"):
        put(group, lambda group=group: d.to_arviz(pair, x[:5], draws=20)[group])


def a_run(record):
    """Record what the README's first command line prints, and the pair that it saves."""
    here, shown = os.getcwd(), io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(shown):
                words = "fit digits --epochs 20 --latent 16 --network.width 128 --draws 200"
                command_line([*words.split(), "--figures", "false"])
            record.put("command line", ppvae.load("runs/digits-1"))
        finally:
            os.chdir(here)
    numbers = re.findall(r"-?\d+\.\d+", shown.getvalue())
    record.put("command line, numbers", [float(number) for number in numbers])


def recorded():
    """Compute everything; return the arrays by name."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    training.generate = replay  # generated code differs from processor to processor
    record, digits = Record(), data.digits()
    trainings(record, digits)
    pair, mixture = small_pair(), Mixture()
    ppvae.fit(pair, digits, epochs=20, compile=False)
    torch.manual_seed(0)
    x = torch.randn(200, 2) + torch.tensor([[1.0, 0.0]])
    ppvae.fit(mixture, x, steps=200, objective=TraceEnum_ELBO(), compile=False)
    record.put("mixture", mixture)
    measurements(record, "VAE", pair, digits.test[:40])
    measurements(record, "mixture", mixture, x[:30])
    record.put("probes", diagnostics.probes(pair, digits, rows=300))
    drawn = data.factors(rows=400)
    disentangled = pairs.assemble(drawn, latent=3)
    ppvae.fit(disentangled, drawn, steps=50, compile=False)
    record.put("factors", diagnostics.disentanglement(disentangled, drawn))
    others = {"a": pair, "b": small_pair()}
    record.put("compare", diagnostics.compare(others, digits.test[:40], draws=50))
    prior = priors.NormalMixture(3, components=5)
    record.put("refitted", ppvae.refit_prior(pair, digits, prior, epochs=3))
    a_run(record)
    return record


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--against", help="a file that an earlier version wrote")
    chosen = parser.parse_args()
    record = recorded()
    np.savez(chosen.file, **record)
    if chosen.against is None:
        print(f"{len(record)} arrays")
        return 0
    before = np.load(chosen.against)
    differing = 0
    for name in sorted({*record, *before.files}):
        if name not in record or name not in before.files:
            print(f"{name}: only in one of both")
        elif record[name].shape != before[name].shape:
            print(f"{name}: of shape {record[name].shape} instead of {before[name].shape}")
        elif not np.array_equal(record[name], before[name], equal_nan=True):
            print(f"{name}: differs by {np.abs(record[name] - before[name]).max():.2g} at most")
        else:
            continue
        differing += 1
    print(f"{len(record)} arrays, {differing} differ")
    return int(differing > 0)


if __name__ == "__main__":
    raise SystemExit(main())
