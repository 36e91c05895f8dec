"""Whole steps by generated code: minutes, for every graph takes the compiler's time."""

import functools

import numpy as np
import pytest
import torch
from torch import nn

import ppvae
from ppvae import data, likelihoods, pairs, posteriors, priors
from ppvae.inference import LinearWarmup

pytestmark = pytest.mark.slow


def trained(*, seed=0, steps=400, **options):
    torch.manual_seed(seed)
    digits = data.digits()
    pair = pairs.assemble(digits, latent=4)
    fit = ppvae.fit(pair, digits, steps=steps, seed=seed, **options)
    return pair, fit


OPTIONS = {
    "Adam": {},
    "clipped, warmed up": {"clip_norm": 50.0, "kl_weight": LinearWarmup(100)},
    "RMSprop": {"optimizer": functools.partial(torch.optim.RMSprop, lr=1e-4, momentum=0.5)},
}


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(options, id=name, marks=pytest.mark.verify)
        for name, options in OPTIONS.items()
    ],
)
@pytest.mark.filterwarnings("ignore:kl_weight is a LinearWarmup of 100 steps")
def test_some_steps_agree_to_rounding(options):
    (plain, _), (compiled, fit) = (
        trained(steps=20, **options, **choice)
        for choice in ({"compile": False}, {"compile_from": 2})
    )
    assert fit.compiled_from == 2
    for (name, first), second in zip(
        plain.state_dict().items(), compiled.state_dict().values(), strict=True
    ):
        change = (first - second).norm() / first.norm()
        assert change < 1e-4, name


@pytest.mark.verify
def test_repeat_is_bit_for_bit_the_same(tmp_path):
    (first, fit), (second, again) = (trained(compile_from=15, steps=40) for _ in range(2))
    assert fit.compiled_from == again.compiled_from == 15
    trained(compile_from=15, steps=25, checkpoint=tmp_path)
    third, _ = trained(compile_from=15, steps=40, resume=tmp_path)
    for other in (second, third):
        assert all(
            torch.equal(a, b)
            for a, b in zip(first.state_dict().values(), other.state_dict().values(), strict=True)
        )


@pytest.mark.verify
def test_trained_as_well_as_by_pyro():
    """After 1000 steps the held-out ELBO lies within the spread of uncompiled runs over seeds."""
    plain = [
        float(trained(compile=False, seed=seed, steps=1000)[1].history.validation_elbo[-1])
        for seed in range(6)
    ]
    compiled = float(trained(compile=True, seed=0, steps=1000)[1].history.validation_elbo[-1])
    assert abs(compiled - plain[0]) < 4 * np.std(plain, ddof=1)


@pytest.mark.verify
def test_background_code_is_used_and_draws_on():
    _pair, fit = trained(compile=True, steps=10_000)
    assert 2 <= fit.compiled_from < 10_000
    assert fit.history.train_loss.values.argmin() > 0


def test_a_bias_without_a_gradient_does_not_speak_against_the_code():
    """Before a normalization its gradient is rounding, of which Adam makes a whole step."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
    pair = ppvae.VAE(
        priors.StandardNormal(2),
        likelihoods.Normal(nn.Linear(2, 4), scale=1.0),
        posteriors.DiagonalNormal(encoder),
    )
    fit = ppvae.fit(pair, torch.randn(256, 4), steps=10, batch_size=64, compile_from=2)
    assert fit.compiled_from == 2
