"""The continuous Bernoulli against arbitrary precision, near a logit of 0 above all."""

import mpmath
import pytest
import torch
from torch import nn

from ppvae.likelihoods import ContinuousBernoulli

LOGITS = [0.0, 1e-12, 1e-7, 1e-4, 1e-3, 0.004, 0.0999, 0.1001, 0.5, 2.0, 10.0, 40.0]


def log_normalizer(logit):
    with mpmath.workdps(50):
        logit = mpmath.mpf(logit)
        return float(mpmath.log(2 if logit == 0 else logit / mpmath.tanh(logit / 2)))


def mean(logit):
    with mpmath.workdps(50):
        logit = mpmath.mpf(logit)
        return float(0.5 if logit == 0 else 0.5 + 0.5 / mpmath.tanh(logit / 2) - 1 / logit)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 3e-15)])
@pytest.mark.parametrize("sign", [1, -1])
def test_normalizer_and_mean(dtype, tolerance, sign):
    logits = sign * torch.tensor(LOGITS, dtype=dtype)[:, None]
    distribution = ContinuousBernoulli(nn.Identity())(logits)
    at_zero = distribution.log_prob(torch.zeros(1, dtype=dtype))
    for logit, value, average in zip(
        logits[:, 0].tolist(), at_zero, distribution.mean[:, 0], strict=True
    ):
        exact = log_normalizer(logit) - float(mpmath.log1p(mpmath.exp(mpmath.mpf(logit))))
        assert value.item() == pytest.approx(exact, rel=tolerance, abs=tolerance)
        assert average.item() == pytest.approx(mean(logit), rel=10 * tolerance)


def variance(logit):
    with mpmath.workdps(50):
        logit = mpmath.mpf(logit)
        if logit == 0:
            return float(mpmath.mpf(1) / 12)
        return float(1 / logit**2 - 1 / (4 * mpmath.sinh(logit / 2) ** 2))


def test_variance():
    logits = torch.tensor([*LOGITS, -0.3, -1.001, 0.999], dtype=torch.float64)[:, None]
    distribution = ContinuousBernoulli(nn.Identity())(logits)
    exact = [variance(logit) for logit in logits[:, 0].tolist()]
    assert distribution.variance[:, 0].tolist() == pytest.approx(exact, rel=1e-8)


def test_gradient_is_smooth_through_zero():
    # d log C / dl = mean - sigmoid(l), which is 0 at l = 0 and changes sign there.
    logits = torch.linspace(-0.2, 0.2, 401, dtype=torch.float64)[:, None].requires_grad_()
    distribution = ContinuousBernoulli(nn.Identity())(logits)
    half = torch.full((1,), 0.5, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(distribution.log_prob(half).sum(), logits)
    exact = half - distribution.mean.detach()
    assert torch.allclose(gradient, exact, atol=1e-13)


def test_784_pixels_in_single_precision():
    logits = 0.004 * torch.randn(784)
    x = torch.rand(784)
    single = ContinuousBernoulli(nn.Identity())(logits).log_prob(x)
    double = ContinuousBernoulli(nn.Identity())(logits.double()).log_prob(x.double())
    assert abs(single.item() - double.item()) < 1e-3
