"""The mixture VAE against sums by hand, and against a mixture of factor analysers."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

import ppvae
from ppvae import diagnostics, likelihoods, networks, pairs, posteriors, priors
from ppvae.engine import draw, seeded, structure_of
from tests.contracts.graphs import trained_both_ways

FEATURES, LATENT, COMPONENTS = 4, 2, 3
FALSE_ALARM_ERRORS = 4.5  # standard errors, passed by chance once in 150,000 comparisons


def normals():
    factors = 0.4 * torch.randn(COMPONENTS, LATENT, LATENT).tril(-1) + torch.eye(LATENT)
    return priors.ConditionalFullRankNormal.of_classes(
        2 * torch.randn(COMPONENTS, LATENT), factors
    )


def mixture(decoder, seed=0):
    torch.manual_seed(seed)
    encoder = nn.Linear(FEATURES, 2 * LATENT)
    pair = pairs.MixtureVAE(
        normals(),
        likelihoods.Normal(decoder(), scale=0.7),
        posteriors.DiagonalNormal(encoder),
        COMPONENTS,
    )
    nn.init.normal_(pair.logits)
    with torch.no_grad():  # so wide a guide that the weights have a small variance
        encoder.bias[LATENT:] = 1.0
    return pair.double()


def linear():
    return networks.First(nn.Linear(LATENT, FEATURES))


def joined():
    return networks.Joined(networks.MLP(LATENT + COMPONENTS, FEATURES, hidden=[8]))


def analysers(pair):
    """Return p(x|k) of linear parts, batched over k."""
    normals, layer = pair.prior(torch.eye(COMPONENTS).double()), pair.likelihood.network.network
    loadings = layer.weight @ normals.scale_tril
    noise = 0.7**2 * torch.eye(FEATURES).double()
    return MultivariateNormal(layer(normals.loc), loadings @ loadings.mT + noise)


def log_joints(pair, x):
    """Return log p(k, x) of linear parts, `(components, data)`."""
    with torch.no_grad():
        return pair.logits.log_softmax(0)[:, None] + analysers(pair).log_prob(x[:, None]).T


def with_linear_parts(rows):
    pair = mixture(linear)
    torch.manual_seed(1)
    x = pair.sample(rows)
    fit_guide(pair)
    return pair, x


def fit_guide(pair):
    """Give the guide the regression of z on x in draws of the model, and twice its error."""
    z = pair.prior(pair.one_hot(torch.arange(5000) % COMPONENTS)).sample()
    with torch.no_grad():
        x = pair.likelihood(z).sample()
        design = torch.cat([x, torch.ones(len(x), 1).double()], 1)
        solution = torch.linalg.lstsq(design, z).solution
        scale = 2 * (z - design @ solution).std(0)
        layer = pair.posterior.network
        layer.weight.copy_(torch.cat([solution[:-1].T, torch.zeros(LATENT, FEATURES).double()]))
        layer.bias.copy_(torch.cat([solution[-1], scale.expm1().log()]))


@pytest.mark.parametrize("decoder", [linear, joined])
def test_weights_of_draws_are_sums_over_all_components(decoder):
    pair, x = mixture(decoder), torch.randn(5, FEATURES).double()
    with torch.no_grad():
        drawn = draw(pair, (x,), structure_of(pair, (x,)), 3)
        z = drawn.latents["z"]
        terms = [
            pair.logits.log_softmax(0)[k]
            + pair.prior(torch.eye(COMPONENTS)[k].double()).log_prob(z)
            + pair.decode(z, k).log_prob(x)
            for k in range(COMPONENTS)
        ]
        expected = torch.stack(terms).logsumexp(0) - pair.posterior(x).log_prob(z)
    found = drawn.log_prior + drawn.log_likelihood - drawn.log_posterior
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(pair.log_joint(z[0], x).detach(), torch.stack(terms)[:, 0])


def test_evidence_and_clusters_are_those_of_a_mixture_of_factor_analysers():
    pair, x = with_linear_parts(30)
    exact = log_joints(pair, x)
    terms = diagnostics.evidence(pair, x, draws=2000)
    error = terms.log_evidence.values - exact.logsumexp(0).numpy()
    assert (abs(error) < FALSE_ALARM_ERRORS * terms.log_evidence_error.values).all()
    assert terms.log_evidence_error.max() < 0.1
    probability, draws = exact.softmax(0).T, 1000
    found = pair.cluster(x, draws=draws)
    # The weights of the draws have variances of at most some 6 in units of their means.
    bound = FALSE_ALARM_ERRORS * (8 * probability * (1 - probability) / draws).sqrt()
    assert bool(((found - probability).abs() < bound + 1e-9).all())
    assert 0.1 < probability.max(1).values.min() < 0.9  # some points lie between components


def test_every_diagnostic_sums_the_component_out():
    pair, x = with_linear_parts(20)
    exact = log_joints(pair, x).logsumexp(0).numpy()
    structure = structure_of(pair, (x,))
    assert structure.latents == ("z",) and structure.marginalized == ("k",)
    weights = diagnostics.weights(pair, x, draws=100)
    assert (diagnostics.pareto_k(pair, x, draws=1000) < 0.7).all()
    arviz = diagnostics.to_arviz(pair, x, draws=100)
    np.testing.assert_allclose(arviz.sample_stats.log_weight.values[0], weights.values)
    given_z = arviz.log_likelihood.x.values[0]  # log p(x|z), in which k does not appear
    z = torch.tensor(arviz.posterior.z.values[0])
    np.testing.assert_allclose(given_z, pair.decode(z, 0).log_prob(x).numpy())
    refined = ppvae.refine(pair, x, progress=False)
    assert refined.table.trusted.values.all()
    error = refined.table.log_evidence.values - exact
    bound = FALSE_ALARM_ERRORS * refined.table.log_evidence_error.values
    assert (abs(error) < bound + 1e-9).all()


@pytest.mark.slow
def test_the_diagnosis_finds_no_fault_but_the_guides():
    pair, x = with_linear_parts(60)
    found = {finding.check: finding.level for finding in diagnostics.diagnose(pair, x).findings}
    print(found)


def test_compiled_training_equals_plain_and_decodes_once(monkeypatch):
    x, rows = torch.rand(60, FEATURES), []

    def build():
        pair = mixture(linear).float()
        pair.likelihood.network.network.register_forward_hook(
            lambda module, inputs, output: rows.append(output.shape)
        )
        return pair

    trained_both_ways(build, x, monkeypatch)
    assert {shape[:-1].numel() for shape in rows} <= {20, 60}  # not once for each component


def test_the_start_is_the_mixture_of_the_latents():
    torch.manual_seed(0)
    x = 3 * torch.randint(3, (600, 1)) + torch.randn(600, FEATURES)
    plain = ppvae.VAE(
        priors.StandardNormal(LATENT),
        likelihoods.Normal(nn.Linear(LATENT, FEATURES), scale=1.0),
        posteriors.DiagonalNormal(nn.Linear(FEATURES, 2 * LATENT)),
    )
    before = [tensor.clone() for tensor in plain.parameters()]
    found = pairs.mixture_from(plain, x, 3, restarts=2)
    again = pairs.mixture_from(plain, x, 3, restarts=2)
    for one, other in zip(found.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    ppvae.fit(found, x, steps=2, compile=False)
    assert all(map(torch.equal, before, plain.parameters()))
    weights = again.logits.softmax(0)
    normals = again.prior(torch.eye(3))
    with seeded(0), torch.no_grad():
        z = plain.posterior(x).sample()
        mean = weights @ normals.loc
        spread = normals.covariance_matrix + normals.loc[:, :, None] * normals.loc[:, None]
        second = (weights[:, None, None] * spread).sum(0)
    # Expectation maximization keeps the first two moments of what it is fitted to.
    torch.testing.assert_close(mean, z.mean(0), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(second, z.T @ z / len(z), rtol=1e-3, atol=1e-3)


def test_samples_of_a_component_are_its_own():
    pair, _ = with_linear_parts(1)
    rows = 4000
    for k in range(COMPONENTS):
        x, exact = pair.sample(rows, k=k), analysers(pair)
        error = (x.mean(0) - exact.mean[k]) / (exact.variance[k] / rows).sqrt()
        assert bool((error.abs() < FALSE_ALARM_ERRORS).all())


def test_what_cannot_be_is_refused_in_one_sentence():
    pair = mixture(linear)
    with pytest.raises(ValueError, match="components of at least 1, got 0"):
        pairs.MixtureVAE(pair.prior, pair.likelihood, pair.posterior, 0)
    with pytest.raises(ValueError, match="of one support"):
        sphere = posteriors.PowerSpherical(nn.Linear(FEATURES, LATENT + 1))
        pairs.MixtureVAE(pair.prior, pair.likelihood, sphere, 3)
    with pytest.raises(ValueError, match="at least one draw"):
        pair.cluster(torch.zeros(2, FEATURES), draws=0)
    with pytest.raises(TypeError, match="needs pair to be a ppvae.VAE, got MixtureVAE"):
        pairs.mixture_from(pair, torch.zeros(5, FEATURES))
