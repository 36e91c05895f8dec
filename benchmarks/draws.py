"""Draws of `diagnostics.evidence` per second, compared with bare decoding and scoring."""

import resource
import statistics
import time

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

import ppvae
from ppvae import diagnostics, likelihoods, networks, posteriors, priors


def interleave(variants, rounds=5):
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
        likelihoods.Bernoulli(networks.MLP(latent, features, hidden=hidden)),
        posteriors.DiagonalNormal(networks.MLP(features, 2 * latent, hidden=hidden)),
    )


def draws(features, hidden, latent, rows, count, rounds=5):
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
        rounds=rounds,
    )
    sizes = "-".join(map(str, [features, *hidden, latent]))
    report(f"{count} draws of {rows} datapoints, {sizes}", seconds, 1)


def growth(features, hidden, latent, rows, counts):
    """Print how time and memory of `diagnostics.evidence` grow with the number of draws."""
    pair = pair_of(features, hidden, latent)
    x = (torch.rand(rows, features) < 0.3).float()
    diagnostics.evidence(pair, x, draws=counts[0])
    print(f"\nevidence of {rows} datapoints, {'-'.join(map(str, [features, *hidden, latent]))}")
    for count in counts:
        started = time.perf_counter()
        diagnostics.evidence(pair, x, draws=count)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        print(f"  {count:6} draws {1e6 * seconds / count / rows:8.2f} us a draw, {peak:.0f} MiB")
