"""Estimators of scikit-learn. This room imports scikit-learn, and is imported when it is used."""

from ppvae.estimators.variational_autoencoder import VariationalAutoencoder

__all__ = ["VariationalAutoencoder"]
