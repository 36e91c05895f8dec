"""Train a VAE on real handwritten digits and measure its posterior."""

import sys

import ppvae
from ppvae import data, diagnostics, likelihoods, networks, posteriors, priors


def main(epochs: int = 50, draws: int = 1000) -> ppvae.VAE:
    """Fit, print formula (2) on held-out digits in nats per datapoint, and return the pair."""
    digits = data.digits()
    pair = ppvae.VAE(
        prior=priors.StandardNormal(10),
        likelihood=likelihoods.Binomial(networks.MLP(10, 64), total_count=16),
        posterior=posteriors.DiagonalNormal(networks.MLP(64, 20)),
    )
    ppvae.fit(pair, digits, epochs=epochs)
    evidence = diagnostics.evidence(pair, digits.test, draws=draws)
    print(diagnostics.summarize(evidence).to_dataframe().round(3))
    print("active units:", diagnostics.active_units(pair, digits.test).count)
    return pair


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
