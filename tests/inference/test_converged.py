"""`Converged` on probabilistic PCA, whose maximum likelihood is known."""

import functools

import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from torch import nn
from torch.distributions import MultivariateNormal

import ppvae
from ppvae import likelihoods, posteriors, priors
from ppvae.inference import Converged

# Without its mean: with it, weights and offsets of the encoder are almost collinear, and Adam
# moves so slowly along their difference that a window of 100 evaluations does not see it converge.
IRIS = torch.as_tensor(load_iris().data - load_iris().data.mean(0))


def pair_of(seed):
    torch.manual_seed(seed)
    return ppvae.VAE(
        prior=priors.StandardNormal(1),
        likelihood=likelihoods.Normal(nn.Linear(1, 4), scale=likelihoods.LearnedScale()),
        posterior=posteriors.DiagonalNormal(nn.Linear(4, 2)),
    ).double()


def log_likelihood(pair):
    loadings = pair.likelihood.network.weight.detach()
    noise = pair.likelihood.scale().item() ** 2 * torch.eye(4, dtype=torch.float64)
    marginal = MultivariateNormal(
        pair.likelihood.network.bias.detach(), loadings @ loadings.T + noise
    )
    return float(marginal.log_prob(IRIS).mean())


def fit(pair, callbacks, *, lr=0.1, steps=4000, seed=0, **options):
    return ppvae.fit(
        pair,
        IRIS,
        steps=steps,
        batch_size=150,
        optimizer=functools.partial(torch.optim.Adam, lr=lr),
        callbacks=callbacks,
        compile=False,
        seed=seed,
        **options,
    )


class Recorder:
    """Keeps the likelihood and the weights of every evaluation."""

    def __init__(self):
        self.log_likelihoods, self.iterates = [], []

    def __call__(self, training):
        if not training.ended:
            self.log_likelihoods.append(log_likelihood(training.pair))
            self.iterates.append(training.snapshot())


def gaps(seed):
    """The distance from the maximum likelihood of the last iterate and of what was left."""
    pair, recorder = pair_of(seed), Recorder()
    result = fit(pair, [recorder, Converged()], seed=seed)
    assert result.reason == "stopped"
    assert result.steps < 4000
    window = recorder.iterates[-100:]
    for name, value in pair.named_parameters():
        kept = torch.stack([iterate[name] for iterate in window])
        assert torch.allclose(value, kept.mean(0), rtol=1e-12)
    maximum = PCA(1).fit(IRIS.numpy()).score(IRIS.numpy())
    return maximum - recorder.log_likelihoods[-1], maximum - log_likelihood(pair)


@pytest.mark.slow
def test_it_stops_when_converged_and_leaves_the_average():
    last, average = gaps(0)
    assert average < last


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=pytest.mark.verify) for seed in range(5)]
)
def test_the_average_is_nearer_to_the_maximum_than_the_last_iterate(seed):
    last, average = gaps(seed)
    print(f"\nbelow the maximum likelihood: last iterate {last:.5f}, average {average:.5f}")
    assert average < last


@pytest.mark.slow
def test_what_still_rises_goes_on():
    pair, recorder = pair_of(0), Recorder()
    result = fit(pair, [recorder, Converged(window=20)], lr=1e-3, steps=600)
    assert result.reason == "finished"
    assert recorder.log_likelihoods[-1] > recorder.log_likelihoods[-20] + 0.1
    assert log_likelihood(pair) == recorder.log_likelihoods[-1]  # the last iterate stays


@pytest.mark.slow
def test_a_checkpoint_keeps_the_window(tmp_path):
    options = {
        "window": 10,
        "rhat": 5,
        "error": 10,
        "effective": 1e-9,
    }  # always met
    whole, parts = pair_of(1), pair_of(1)
    once = fit(whole, [Converged(**options)], steps=300)
    fit(parts, [Converged(**options)], steps=50, checkpoint=tmp_path)
    again = fit(parts, [Converged(**options)], steps=300, resume=tmp_path)
    assert once.steps == again.steps
    assert once.reason == again.reason == "stopped"
    for first, second in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(first, second)


def test_what_never_moves_has_converged():
    pair = pair_of(0)
    callback = Converged(window=8)
    assert fit(pair, [callback], lr=0.0, steps=500).reason == "stopped"


def test_one_object_serves_several_trainings():
    callback = Converged(window=8)
    assert fit(pair_of(0), [callback], lr=0.0, steps=50).reason == "finished"
    assert fit(pair_of(0), [callback], lr=0.0, steps=50).reason == "finished"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 7}, "window >= 8, got 7"),
        ({"rhat": 1.0}, "rhat > 1"),
        ({"error": 0.0}, "error > 0"),
        ({"effective": 0}, "effective > 0"),
        ({"share": 1.1}, "0 < share <= 1"),
    ],
)
def test_what_bounds_nothing_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Converged(**options)
