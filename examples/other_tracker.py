"""The curves of a training in any tracker, such as MLflow: a callback of ten lines."""

import sys
from typing import Protocol

import ppvae
from ppvae import data, pairs
from ppvae.inference import Training


class LogMetrics(Protocol):
    """What `mlflow.log_metrics` is; other trackers have a function like it."""

    def __call__(self, metrics: dict[str, float], *, step: int) -> object:
        """Write numbers by name, as points of their curves at a step."""


class Tracked:
    """A callback for `fit` that hands every evaluation to a tracker."""

    def __init__(self, log_metrics: LogMetrics) -> None:
        self.log_metrics = log_metrics

    def __call__(self, training: Training) -> None:
        """Hand over the latest evaluation."""
        if not training.ended:  # then there is no new one
            metrics = dict(training.records[-1])
            self.log_metrics(metrics, step=int(metrics.pop("step")))


def printed(metrics: dict[str, float], *, step: int) -> None:
    """Print what a tracker would keep."""
    print(f"step {step:5}  validation ELBO {metrics['validation_elbo']:8.2f}")


def main(epochs: int = 20) -> None:
    """Fit, and print each evaluation as it comes.

    With MLflow, whose function has the same arguments:

        import mlflow

        with mlflow.start_run():
            ppvae.fit(pair, digits, callbacks=[Tracked(mlflow.log_metrics)])
    """
    digits = data.digits()
    pair = pairs.assemble(digits, latent=2)
    ppvae.fit(pair, digits, epochs=epochs, callbacks=[Tracked(printed)])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
