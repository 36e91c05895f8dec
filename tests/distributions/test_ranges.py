"""Scales of any raw value: finite, and their gradients lead back."""

import math

import pytest
import torch
from torch.nn.functional import softplus

import ppvae
from ppvae import likelihoods, networks, posteriors, priors
from ppvae.distributions import exponential, held, positive

EXTREMES = [-1e30, -1e4, -104.0, -87.0, 0.0, 89.0, 1e4, 1e30]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [positive, exponential])
def test_scales_and_their_gradients_are_finite(scale, dtype):
    raw = torch.tensor(EXTREMES, dtype=dtype).requires_grad_()
    values = scale(raw)
    for power in (1, 2, -1, -2):
        term = values**power
        (gradient,) = torch.autograd.grad(term.sum(), raw, retain_graph=True)
        assert bool(((0 < term) & (term < math.inf)).all())
        assert bool(gradient.isfinite().all())
    (gradient,) = torch.autograd.grad(values.log().sum(), raw)
    assert bool((gradient > 0).all())  # it leads back from beyond both bounds


def test_ordinary_scales_are_what_they_were():
    raw = torch.linspace(-17, 80, 999).requires_grad_()
    for ours, torchs in ((positive, softplus), (exponential, torch.exp)):
        inside = raw if torchs is softplus else raw / 3
        assert torch.equal(ours(inside), torchs(inside))
        gradients = [
            torch.autograd.grad(f(inside).sum(), raw, retain_graph=True)[0] for f in (ours, torchs)
        ]
        assert torch.equal(*gradients)


def test_an_infinite_gradient_is_cut_and_a_missing_number_stays():
    raw = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    held(raw).backward(torch.tensor([math.inf, -math.inf, math.nan]))
    assert raw.grad[:2].isfinite().all() and raw.grad[2].isnan()
    assert positive(torch.tensor([math.nan])).isnan()


def test_second_derivatives_and_function_transforms():
    value = torch.tensor(0.3, dtype=torch.float64)
    share, twice = torch.sigmoid(value), torch.func.grad(torch.func.grad(positive))
    torch.testing.assert_close(twice(value), share * (1 - share))
    rows = torch.randn(5, 2)
    assert torch.equal(torch.func.vmap(positive)(rows), softplus(rows))


def test_a_scale_comes_back_from_below_its_bound():
    """KL[N(0, scale^2) || N(0, 1)] is least at a scale of 1."""
    raw = torch.tensor([-300.0], requires_grad=True)
    adam = torch.optim.Adam([raw], lr=1.0)
    for _ in range(600):
        adam.zero_grad()
        posterior = posteriors.DiagonalNormal(torch.nn.Identity())(torch.cat([0 * raw, raw]))
        torch.distributions.kl_divergence(posterior, priors.StandardNormal(1)()).backward()
        adam.step()
    assert float(positive(raw).detach()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("unit", [1e-6, 1e3, 1e6])
@pytest.mark.parametrize("posterior", [posteriors.DiagonalNormal, posteriors.FullRankNormal])
def test_training_on_data_of_any_unit_goes_on(posterior, unit):
    torch.manual_seed(0)
    x = unit * torch.randn(200, 5)
    encoder = networks.MLP(5, posterior(torch.nn.Identity()).outputs_for(2))
    pair = ppvae.VAE(
        priors.StandardNormal(2), likelihoods.Normal(networks.MLP(2, 10)), posterior(encoder)
    )
    fit = ppvae.fit(pair, x, steps=20, compile=False)
    assert fit.reason == "finished"
    assert bool((fit.history.train_elbo < 100).all())
