"""Topics of documents: the prior, the density, and topics that are known."""

import functools
import math

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn
from torch.distributions import Dirichlet, constraints

import ppvae
from ppvae import data, likelihoods, posteriors, priors
from ppvae.pairs import TopicModel


def test_the_prior_is_the_laplace_approximation_of_a_dirichlet():
    a = torch.tensor([0.5, 1.0, 4.0], dtype=torch.double)
    prior = priors.LogisticNormal(3, a.tolist()).double()()

    def log_density(z):
        """The Dirichlet in the coordinates z, of sum 0 and along their sum a fixed normal."""
        return (a * z.log_softmax(-1)).sum() - z.sum() ** 2 / 2

    mode = (a.log() - a.log().mean()).requires_grad_()
    (slope,) = torch.autograd.grad(log_density(mode), mode)
    torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-6)
    torch.testing.assert_close(prior.mean, mode.detach(), rtol=0, atol=1e-6)
    curvature = -torch.autograd.functional.hessian(log_density, mode.detach())
    centering = torch.eye(3).double() - 1 / 3
    covariance = centering @ torch.linalg.inv(curvature) @ centering
    independent = centering @ prior.variance.diag() @ centering
    torch.testing.assert_close(covariance, independent, rtol=1e-5, atol=1e-6)


def test_shares_are_nearly_dirichlet():
    torch.manual_seed(0)
    z = priors.LogisticNormal(4, 20.0)().sample((200_000,))
    shares, exact = z.softmax(-1), Dirichlet(torch.full((4,), 20.0))
    # An approximation, whose error is 1 %; the draws' relative standard errors are .04 and .3 %.
    torch.testing.assert_close(shares.mean(0), exact.mean, rtol=0.005, atol=0)
    torch.testing.assert_close(shares.var(0), exact.variance, rtol=0.03, atol=0)


def test_density_is_that_of_the_product_of_topics():
    documents = data.topic_documents(100, topics=3, words=20)
    pair = TopicModel.of(documents, latent=3).double()
    x, z = documents.test[:4].double(), torch.randn(7, 4, 3).double()
    topics = pair.topics.weight.detach()
    shares = z.exp() / z.exp().sum(-1, keepdim=True)
    product = pair.topics.bias.detach().exp()
    for number in range(3):
        product = product * topics[number].exp() ** shares[..., number, None]
    reference = torch.distributions.Multinomial(80, probs=product)
    torch.testing.assert_close(pair.decode(z).log_prob(x), reference.log_prob(x.expand(7, -1, -1)))


@pytest.mark.slow
def test_known_topics_are_found():
    documents = data.topic_documents(1500, topics=5, words=200)
    torch.manual_seed(0)
    pair = TopicModel.of(documents, latent=5)
    adam = functools.partial(torch.optim.Adam, lr=1e-2)
    ppvae.fit(pair, documents.train, epochs=30, optimizer=adam, compile=False)
    found = (pair.topics.weight + pair.topics.bias).softmax(-1).detach()
    unit = functools.partial(nn.functional.normalize, dim=-1)
    cosine = unit(found) @ unit(data.topic_words(5, 200)).T
    row, column = linear_sum_assignment(-cosine.numpy())
    assert float(cosine[row, column].min()) > 0.9
    shares, true = pair.shares(documents.test), documents.factors["test"]
    right = torch.tensor(column)[shares.argmax(1)] == true.argmax(1)
    assert float(right.float().mean()) > 0.85


def test_what_does_not_suit_is_refused():
    with pytest.raises(TypeError, match="whose network is a networks.Topics, got Linear"):
        TopicModel(
            priors.LogisticNormal(2),
            likelihoods.Multinomial(nn.Linear(2, 9)),
            posteriors.DiagonalNormal(nn.Linear(9, 4)),
        )
    with pytest.raises(ppvae.Unsupported, match="TopicModel needs counts of words"):
        TopicModel.of(data.split("noise", torch.randn(20, 3), constraints.real))
    documents = data.topic_documents(10, topics=3, words=20)
    with pytest.raises(ValueError, match="got 8 for latent 9; take fewer topics"):
        TopicModel.of(documents, latent=9)
    for wrong in (0.0, [1.0, 2.0, 3.0], math.nan):
        with pytest.raises(ValueError, match="LogisticNormal needs a positive concentration"):
            priors.LogisticNormal(2, wrong)
