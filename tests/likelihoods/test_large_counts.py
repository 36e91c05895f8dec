"""Log densities in single precision where their terms are large and cancel, against exact ones."""

import math

import mpmath
import pytest
import torch
from torch import nn

from ppvae import likelihoods, priors

NEAR = 1e-3  # nats a feature, next to 0.5 to 10 that single precision loses


def log_gamma(value):
    return mpmath.loggamma(mpmath.mpf(value))


def negative_binomial(x, log_mean, r):
    with mpmath.workdps(60):
        mean, r = mpmath.exp(mpmath.mpf(log_mean)), mpmath.mpf(r)
        return float(
            log_gamma(x + r)
            - log_gamma(r)
            - log_gamma(x + 1)
            + r * mpmath.log(r / (r + mean))
            + x * mpmath.log(mean / (r + mean))
        )


def poisson(x, log_rate):
    with mpmath.workdps(40):
        rate = mpmath.mpf(log_rate)
        return float(x * rate - mpmath.exp(rate) - log_gamma(x + 1))


def around(mean, deviation):
    return sorted({max(0, round(mean + k * deviation)) for k in (-3, -1, 0, 1, 3)} | {0})


def log_prob(family, outputs, x, **arguments):
    outputs = torch.tensor(outputs)
    scores = family(nn.Identity(), **arguments)(outputs).log_prob(
        torch.tensor(x, dtype=torch.float32)
    )
    return outputs.tolist(), scores.tolist()


@pytest.mark.parametrize("r", [1e-7, 1e-2, 1.0, 30.0, 9999.0, 10001.0, 1e5, 1e7, 1e12])
@pytest.mark.parametrize("mean", [1e-3, 1.0, 100.0, 1e4, 1e6])
def test_negative_binomial(mean, r):
    raw = r if r > 20 else math.log(math.expm1(r))
    for x in around(mean, math.sqrt(mean + mean**2 / r)):
        (log_mean, raw_r), got = log_prob(
            likelihoods.NegativeBinomial, [math.log(mean), raw], [float(x)]
        )
        r_here = nn.functional.softplus(torch.tensor(raw_r)).item()
        exact = negative_binomial(int(torch.tensor(float(x)).item()), log_mean, r_here)
        assert got == pytest.approx(exact, abs=1e-6, rel=1e-5)


def test_negative_binomial_of_the_values_that_were_wrong():
    for mean, r, exact in ((1e4, 1e7, -5.525), (100.0, 1e5, -3.223)):
        _, got = log_prob(likelihoods.NegativeBinomial, [math.log(mean), r], [mean])
        assert got == pytest.approx(exact, abs=5e-4)


@pytest.mark.parametrize("mean", [1e-3, 1.0, 100.0, 1e6])
def test_negative_binomial_without_dispersion_is_poisson(mean):
    for x in around(mean, math.sqrt(mean)):
        for r in (1e13, 1e30):
            (log_mean, _), got = log_prob(
                likelihoods.NegativeBinomial, [math.log(mean), r], [float(x)]
            )
            assert got == pytest.approx(poisson(x, log_mean), abs=1e-5, rel=1e-5)


@pytest.mark.parametrize(("log_mean", "r", "x"), [(9, 1e7, 8000), (2, 0.3, 40), (0, 1e4, 3)])
def test_gradient_of_negative_binomial_is_exact(log_mean, r, x):
    raw = r if r > 20 else math.log(math.expm1(r))
    outputs = torch.tensor([log_mean, raw]).requires_grad_()
    counts = likelihoods.NegativeBinomial(nn.Identity())(outputs)
    counts.log_prob(torch.tensor([float(x)])).backward()
    with mpmath.workdps(40):
        r, mean = mpmath.mpf(r), mpmath.exp(log_mean)
        by_log_mean = x - (x + r) * mean / (r + mean)
        by_r = mpmath.digamma(x + r) - mpmath.digamma(r)
        by_r += mpmath.log(r / (r + mean)) + 1 - (x + r) / (r + mean)
        slope = -mpmath.expm1(-r)  # of log(1 + exp(raw))
    expected = [float(by_log_mean), float(by_r * slope)]
    assert outputs.grad.tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("gate", [-300.0, -50.0, 0.0, 5.0, 50.0])
def test_zero_inflated_negative_binomial(gate):
    for x in (0, 9e5, 1e6):
        (log_mean, r, _), got = log_prob(
            likelihoods.ZeroInflatedNegativeBinomial, [math.log(1e6), 1e7, gate], [float(x)]
        )
        with mpmath.workdps(200):
            share = 1 / (1 + mpmath.exp(-mpmath.mpf(gate)))
            counted = (1 - share) * mpmath.exp(negative_binomial(int(x), log_mean, r))
            exact = float(mpmath.log(counted + (share if x == 0 else 0)))
        assert got == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("rate", [1e-3, 1.0, 1e3, 1e6, 1e8])
def test_poisson(rate):
    for x in around(rate, math.sqrt(rate)):
        x = int(torch.tensor(float(x)).item())
        (log_rate,), got = log_prob(likelihoods.Poisson, [math.log(rate)], [float(x)])
        assert got == pytest.approx(poisson(x, log_rate), abs=1e-5, rel=1e-5)


@pytest.mark.parametrize("total", [16, 255, 256, 65_535, 1_000_000])
@pytest.mark.parametrize("logit", [-12.0, 0.3, 12.0])
def test_binomial(total, logit):
    share = 1 / (1 + math.exp(-logit))
    for x in around(total * share, math.sqrt(total * share * (1 - share))):
        x = min(x, total)
        _, got = log_prob(likelihoods.Binomial, [logit], [float(x)], total_count=total)
        with mpmath.workdps(40):
            odds = mpmath.mpf(torch.tensor(logit).item())
            exact = log_gamma(total + 1) - log_gamma(x + 1) - log_gamma(total - x + 1)
            exact += x * odds - total * mpmath.log1p(mpmath.exp(odds))
        assert got == pytest.approx(float(exact), abs=NEAR, rel=1e-5)


def test_multinomial():
    logits, x = [3.0, 2.0, -1.0, 0.1], [700_123.0, 250_456.0, 13_000.0, 36_421.0]
    given, got = log_prob(likelihoods.Multinomial, logits, x)
    with mpmath.workdps(40):
        total = mpmath.log(sum(mpmath.exp(logit) for logit in given))
        exact = log_gamma(sum(x) + 1)
        exact += sum(
            n * (logit - total) - log_gamma(n + 1) for n, logit in zip(x, given, strict=True)
        )
    assert got == pytest.approx(float(exact), rel=1e-6)


@pytest.mark.parametrize("concentration", [0.1, 30.0, 1e4, 1e6])
def test_beta(concentration):
    raw = concentration if concentration > 20 else math.log(math.expm1(concentration))
    for x in (0.49, 0.5, 0.51):
        _, got = log_prob(likelihoods.Beta, [0.0, raw], [x])
        with mpmath.workdps(40):
            half, value = mpmath.mpf(concentration) / 2, mpmath.mpf(torch.tensor(x).item())
            exact = (half - 1) * (mpmath.log(value) + mpmath.log(1 - value))
            exact -= 2 * log_gamma(half) - log_gamma(2 * half)
        assert got == pytest.approx(float(exact), abs=NEAR, rel=1e-5)


@pytest.mark.parametrize("df", [0.1, 4.0, 1e3, 1e6, 1e12])
def test_student_t(df):
    for x in (0.0, 1.5, 6.0):
        with mpmath.workdps(60):
            d = mpmath.mpf(torch.tensor(df).item())
            exact = log_gamma((d + 1) / 2) - log_gamma(d / 2) - mpmath.log(d * mpmath.pi) / 2
            exact = float(exact - (d + 1) / 2 * mpmath.log1p(mpmath.mpf(x) ** 2 / d))
        raw_one = math.log(math.e - 1)
        _, got = log_prob(likelihoods.StudentT, [0.0, raw_one], [x], df=df)
        assert got == pytest.approx(exact, abs=1e-5)
        prior = priors.StudentT(1, df=df)().log_prob(torch.tensor([x])).item()
        assert prior == pytest.approx(exact, abs=1e-5)


@torch.no_grad()
def test_samples_of_large_counts_have_mean_and_variance():
    torch.manual_seed(0)
    for mean, r in ((1e6, 1e12), (1e4, 1e7), (1e4, 3.0), (50.0, 1e30)):
        raw = r if r > 20 else math.log(math.expm1(r))
        counts = likelihoods.NegativeBinomial(nn.Identity())(torch.tensor([math.log(mean), raw]))
        x, variance = counts.sample((20_000,)).double(), mean + mean**2 / r
        assert counts.mean.item() == pytest.approx(mean, rel=1e-5)
        assert counts.variance.item() == pytest.approx(variance, rel=1e-4)
        assert abs(x.mean().item() - mean) < 4.5 * math.sqrt(variance / 20_000)
        assert x.var().item() == pytest.approx(variance, rel=0.1)
