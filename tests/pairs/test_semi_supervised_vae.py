"""A class is summed out where it is not known: against linear-Gaussian classes in closed form."""

import functools
import math

import pytest
import torch
from pyro.infer import TraceEnum_ELBO
from torch import nn
from torch.distributions import MultivariateNormal

import ppvae
from ppvae import data, diagnostics
from ppvae.likelihoods import Normal
from ppvae.networks import Joined
from ppvae.pairs import SemiSupervisedVAE
from ppvae.posteriors import DiagonalNormal
from ppvae.priors import StandardNormal
from tests.contracts.graphs import trained_both_ways

FEATURES, LATENT, CLASSES, NOISE = 4, 2, 3, 0.7
SHARES = torch.tensor([0.5, 0.2, 0.3]).double()


class LinearClasses:
    """x | z, y ~ N(W z + m_y, noise^2 I), z ~ N(0, I), y of three classes."""

    def __init__(self):
        generator = torch.Generator().manual_seed(3)
        double = {"generator": generator, "dtype": torch.double}
        self.loadings = torch.linalg.qr(torch.randn(FEATURES, LATENT, **double)).Q * 1.3
        self.means = 1.2 * torch.randn(CLASSES, FEATURES, **double)
        noise = NOISE**2 * torch.eye(FEATURES).double()
        self.covariance = self.loadings @ self.loadings.T + noise
        self.y = torch.multinomial(SHARES, 300, replacement=True, generator=generator)
        scale_tril = torch.linalg.cholesky(self.covariance)
        self.x = self.means[self.y] + torch.randn(300, FEATURES, **double) @ scale_tril.T

    def log_joint(self, x):
        """Return log p(x, y) of every class, `(data, classes)`."""
        normals = MultivariateNormal(self.means, self.covariance)
        return SHARES.log() + normals.log_prob(x.unsqueeze(1))

    def pair(self, *, exact=True, weight=0.0):
        """Return the pair with the exact q(z|x, y), and the exact or a zero classifier."""
        decoder = nn.Linear(LATENT + CLASSES, FEATURES)
        encoder = nn.Linear(FEATURES + CLASSES, 2 * LATENT)
        classifier = nn.Linear(FEATURES, CLASSES)
        variance = 1 / (1 + 1.3**2 / NOISE**2)
        slope = self.loadings.T * variance / NOISE**2
        precision = torch.linalg.inv(self.covariance)
        weights = self.means @ precision if exact else torch.zeros(CLASSES, FEATURES)
        bias = SHARES.log() - 0.5 * (self.means @ precision * self.means).sum(1)
        with torch.no_grad():
            for layer in (decoder, encoder, classifier):
                layer.double().weight.zero_()
                layer.bias.zero_()
            decoder.weight.copy_(torch.cat([self.loadings, self.means.T], 1))
            encoder.weight[:LATENT] = torch.cat([slope, -slope @ self.means.T], 1)
            encoder.bias[LATENT:] = math.log(math.expm1(math.sqrt(variance)))
            classifier.weight.copy_(weights)
            if exact:
                classifier.bias.copy_(bias)
        return SemiSupervisedVAE(
            StandardNormal(LATENT),
            Normal(Joined(decoder), scale=NOISE),
            DiagonalNormal(Joined(encoder)),
            classifier,
            shares=SHARES.tolist(),
            weight=weight,
        ).double()


@pytest.fixture(scope="module")
def classes():
    return LinearClasses()


def hidden(classes):
    """The labels, every other one not known."""
    return torch.where(torch.arange(len(classes.y)) % 2 == 0, classes.y, -1)


def loss(pair, x, y):
    return TraceEnum_ELBO(max_plate_nesting=1).loss(pair.model, pair.guide, x, y)


def test_evidence_is_that_of_the_mixture_or_of_the_known_class(classes):
    pair, x, y = classes.pair().eval(), classes.x[:40], hidden(classes)[:40]
    log_joint = classes.log_joint(x)
    expected = torch.where(y < 0, log_joint.logsumexp(1), log_joint[range(40), classes.y[:40]])
    found = diagnostics.evidence(pair, (x, y), draws=50)
    torch.testing.assert_close(torch.as_tensor(found.log_evidence.values), expected)
    # The guide is exact: there is nothing between its bound and log p.
    torch.testing.assert_close(torch.as_tensor(found.elbo.values), expected)
    torch.testing.assert_close(pair.classify(x), log_joint.softmax(1))


def test_a_trained_classifier_is_the_exact_posterior_of_the_class(classes):
    pair = classes.pair(exact=False)
    for factor in (pair.likelihood, pair.posterior):
        factor.requires_grad_(False)
    y = torch.full_like(classes.y, -1)  # learned without any label
    fast = functools.partial(torch.optim.Adam, lr=0.2)
    ppvae.fit(pair, (classes.x, y), steps=150, batch_size=300, optimizer=fast, compile=False)
    exact = classes.log_joint(classes.x).softmax(1)
    torch.testing.assert_close(pair.classify(classes.x), exact, rtol=0, atol=0.01)


def test_a_mixed_batch_is_the_sum_of_its_parts(classes):
    pair, x, y = classes.pair(weight=3.0).eval(), classes.x, hidden(classes)
    with torch.no_grad():
        pair.classifier.weight.mul_(0.5)  # now another than the exact one
    log_joint, log_q = classes.log_joint(x), pair.classify(x).detach().log()
    known = y >= 0
    own = log_joint[range(len(x)), classes.y]
    bound = (log_q.exp() * (log_joint - log_q)).sum(1)
    expected = -float(torch.where(known, own, bound).sum())
    assert loss(pair, x, y) == pytest.approx(expected, rel=1e-7)
    parts = loss(pair, x[known], y[known]) + loss(pair, x[~known], y[~known])
    assert parts == pytest.approx(expected, rel=1e-7)
    # In training the classifier learns from the known classes, of which alone.
    pair.train()
    told = 3.0 * float(log_q[range(len(x)), classes.y][known].sum())
    assert loss(pair, x, y) == pytest.approx(expected - told, rel=1e-7)


def test_a_known_class_has_no_part_in_others(classes):
    """Of a labelled row no other class gives a gradient, however absurd."""
    pair, x, y = classes.pair().eval(), classes.x[:3], torch.tensor([1, 1, -1])
    with torch.no_grad():
        pair.likelihood.network.network.weight[:, LATENT] = 1e6  # the mean of class 0
    elbo = TraceEnum_ELBO(max_plate_nesting=1)
    value = elbo.loss_and_grads(pair.model, pair.guide, x[:2], y[:2])
    assert value == pytest.approx(-float(classes.log_joint(x[:2])[:, 1].sum()), rel=1e-6)
    assert float(pair.likelihood.network.network.weight.grad[:, LATENT].abs().max()) < 1e-20
    assert float(pair.classifier.weight.grad.abs().max()) == 0


def test_the_graph_is_the_program(monkeypatch, classes):
    def build():
        return classes.pair(exact=False, weight=2.0)

    trained_both_ways(build, (classes.x, hidden(classes)), monkeypatch)


def test_what_is_refined_is_the_exact_evidence_too(classes):
    pair, x, y = classes.pair().eval(), classes.x[:4], hidden(classes)[:4]
    with torch.no_grad():
        pair.posterior.network.network.bias.add_(0.3)  # now another than the exact one
    refined = ppvae.refine(pair, (x, y), draws=200).table
    assert bool(refined.trusted.all())
    log_joint = classes.log_joint(x)
    expected = torch.where(y < 0, log_joint.logsumexp(1), log_joint[range(4), classes.y[:4]])
    off = torch.as_tensor(refined.log_evidence.values) - expected
    # Four z-scores beyond 4.5: a false alarm in 40,000 runs.
    assert bool((off.abs() < 4.5 * torch.as_tensor(refined.log_evidence_error.values)).all())


def test_the_classification_term_is_no_part_of_any_diagnostic(classes):
    pair, batch = classes.pair(weight=5.0).train(), (classes.x[:5], classes.y[:5])
    found = diagnostics.evidence(pair, batch, draws=20).log_evidence.values
    torch.testing.assert_close(
        torch.as_tensor(found), classes.log_joint(batch[0])[range(5), batch[1]]
    )


def test_it_is_built_of_a_dataset_and_its_labels():
    digits = data.digits().labeled(known=50)
    pair = SemiSupervisedVAE.of(digits, latent=2)
    assert pair.weight == pytest.approx(0.1 * len(digits.train) / 50)
    assert SemiSupervisedVAE.batches_of(digits) is digits
    x = digits.test[:4]
    assert (
        pair.encode(x).sample().shape == pair.encode(x, torch.arange(4)).sample().shape == (4, 2)
    )
    assert pair.sample(3).shape == (3, 64)
    assert pair.sample(3, torch.arange(2)).shape == (3, 2, 64)
    assert pair.decode(torch.zeros(5, 2), torch.arange(5)).mean.shape == (5, 64)
