"""`make bench`: time per training step and draws per second, each beside its bare counterpart.

Rounds of all variants are interleaved in one process; what is printed are medians of a round's
time and the median of the ratios to the first variant, round by round.
"""

import statistics
import time

import pyro
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

import ppvae
from ppvae import diagnostics, likelihoods, networks, posteriors, priors
from ppvae.inference import JointOptim

ROUNDS, STEPS = 15, 40


def interleave(variants, rounds=ROUNDS):
    """Time each variant once a round; return seconds by name."""
    seconds = {name: [] for name in variants}
    for run in variants.values():  # caches and allocators warm up
        run()
    for _ in range(rounds):
        for name, run in variants.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def report(title, seconds, per):
    print(f"\n{title}")
    base = next(iter(seconds.values()))
    for name, values in seconds.items():
        ratios = sorted(value / other for value, other in zip(values, base, strict=True))
        low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
        print(
            f"  {name:42}{1e3 * statistics.median(values) / per:9.3f} ms"
            f"{statistics.median(ratios):8.2f}  ({low:.2f} to {high:.2f})"
        )


def pair_of(features, hidden, latent):
    torch.manual_seed(0)
    return ppvae.VAE(
        priors.StandardNormal(latent),
        likelihoods.Bernoulli(networks.MLP(latent, features, hidden=[hidden])),
        posteriors.DiagonalNormal(networks.MLP(features, 2 * latent, hidden=[hidden])),
    )


def steps(features, hidden, latent, batch):
    x = (torch.rand(batch, features) < 0.3).float()

    def by_hand():
        pair = pair_of(features, hidden, latent)
        encoder, decoder = pair.posterior.network, pair.likelihood.network
        optimizer = torch.optim.Adam(pair.parameters(), lr=1e-3, fused=True)

        def run():
            for _ in range(STEPS):
                optimizer.zero_grad()
                loc, raw = encoder(x).chunk(2, -1)
                scale = softplus(raw)
                logits = decoder(loc + scale * torch.randn_like(scale))
                kl = 0.5 * (scale.square() + loc.square() - 1).sum() - scale.log().sum()
                loss = binary_cross_entropy_with_logits(logits, x, reduction="sum") + kl
                loss.backward()
                optimizer.step()
                loss.item()

        return run

    def svi(make):
        pair = pair_of(features, hidden, latent)
        inference = SVI(pair.model, pair.guide, make(pair), Trace_ELBO())

        def run():
            for _ in range(STEPS):
                inference.step(x)

        return run

    def fit():
        pair = pair_of(features, hidden, latent)
        data = x.repeat(STEPS, 1)
        return lambda: ppvae.fit(pair, data, steps=STEPS, batch_size=batch)

    seconds = interleave(
        {
            "PyTorch by hand, fused Adam": by_hand(),
            "Pyro SVI, pyro.optim.Adam": svi(lambda pair: pyro.optim.Adam({"lr": 1e-3})),
            "Pyro SVI, JointOptim": svi(lambda pair: JointOptim(torch.optim.Adam)),
            "ppvae.fit, gather and evaluation included": fit(),
        }
    )
    report(f"training step, {features}-{hidden}-{latent}, batch {batch}", seconds, STEPS)


def draws(features, hidden, latent, rows, count):
    pair = pair_of(features, hidden, latent)
    x = (torch.rand(rows, features) < 0.3).float()
    decoder: nn.Module = pair.likelihood.network

    @torch.no_grad()
    def bare():
        loc, raw = pair.posterior.network(x).chunk(2, -1)
        scale = softplus(raw)
        for start in range(0, count, 64):
            size = min(64, count - start)
            for index in range(0, rows, 50):
                z = loc[index : index + 50] + scale[index : index + 50] * torch.randn(
                    size, min(50, rows - index), latent
                )
                logits = decoder(z)
                target = x[index : index + 50].expand_as(logits)
                binary_cross_entropy_with_logits(logits, target, reduction="none").sum(-1)

    seconds = interleave(
        {
            "decode and score, bare": bare,
            "diagnostics.evidence": lambda: diagnostics.evidence(pair, x, draws=count),
        },
        rounds=5,
    )
    report(f"{count} draws of {rows} datapoints, {features}-{hidden}-{latent}", seconds, 1)


def main():
    print(f"torch {torch.__version__}, pyro {pyro.__version__}, {torch.get_num_threads()} threads")
    steps(784, 400, 20, batch=128)
    steps(64, 256, 10, batch=128)
    draws(784, 200, 50, rows=200, count=1000)
    draws(64, 256, 10, rows=200, count=1000)


if __name__ == "__main__":
    main()
