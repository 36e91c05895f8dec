"""Diagnostics that take refined draws in place of the guide's, against closed forms."""

from dataclasses import replace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from ppvae import data, diagnostics, pairs
from ppvae.diagnostics.names import named_batch, named_first
from ppvae.reports.plots import evidence_bars
from ppvae.reports.tables import evidence_content, evidence_table
from tests.diagnostics.posterior_refinement.far_guide import DRAWS, far_guide
from tests.linear_gaussian import LinearGaussian


def test_evidence_has_the_right_log_evidence_by_refined_draws_only():
    case, pair, x, refined = far_guide()
    exact = case.terms(x)
    plain = diagnostics.evidence(pair, x, draws=500)
    terms = diagnostics.evidence(pair, x, posterior=refined, draws=500)
    assert list(terms) == list(plain)
    for name in ("log_evidence", "posterior_kl"):
        truth = exact[name].numpy()
        assert (plain[name].values < truth - 1).all(), name
        error = terms[f"{name}_error"].values
        assert (abs(terms[name].values - truth) < 4 * error).all(), name
    assert terms.log_evidence_error.max() < 0.1
    for name in ("elbo", "kl", "reconstruction"):
        np.testing.assert_array_equal(terms[name], plain[name])
    assert terms.trusted.all()
    assert not plain.trusted.any()
    threshold = refined.table.attrs["threshold"]
    assert terms.attrs == {
        **plain.attrs,
        "draws": DRAWS,
        "guide_draws": 500,
        "threshold": threshold,
    }


def test_errors_and_tails_of_evidence_are_those_of_refined_draws():
    _, pair, x, refined = far_guide()
    terms = diagnostics.evidence(pair, x, posterior=refined, draws=50)
    weights = refined.log_weights.exp()
    size = 1 / weights.square().sum(0).numpy()
    np.testing.assert_allclose(terms.effective_sample_size, size, rtol=1e-9)
    drawn = (1 / size - 1 / DRAWS) * DRAWS / (DRAWS - 1)  # the delta method's square
    np.testing.assert_allclose(
        terms.log_evidence_error**2, drawn + terms.unseen.values**2, rtol=1e-6
    )
    tails = diagnostics.pareto_k(pair, x, posterior=refined)
    assert set(tails) == set(diagnostics.pareto_k(pair, x, draws=50))
    for name, values in tails.items():
        np.testing.assert_array_equal(values, terms[name])
    assert tails.attrs == {"draws": DRAWS, "threshold": terms.attrs["threshold"]}


def test_summary_and_figure_take_the_table_of_refined_draws():
    case, pair, x, refined = far_guide()
    terms = diagnostics.evidence(pair, x, posterior=refined, draws=500)
    summary = diagnostics.summarize(terms).sel(term="log_evidence")
    exact = float(case.terms(x)["log_evidence"].mean())
    assert abs(float(summary["mean"]) - exact) < 4 * float(summary.monte_carlo_error) < 0.2
    assert summary.attrs["draws"] == DRAWS
    whole = diagnostics.summarize(terms)
    assert evidence_bars(whole).axes[0].patches
    assert evidence_table(whole, terms)
    assert evidence_content(whole, terms)


def test_posterior_of_other_datapoints_is_refused():
    _, pair, x, refined = far_guide()
    with pytest.raises(ValueError, match="posterior is of 6 datapoints, and the data have 5"):
        diagnostics.evidence(pair, x[:5], posterior=refined)
    digits = data.digits()
    own = pairs.assemble(digits, latent=2)
    train, test = (named_first(named_batch(digits, split), 3) for split in ("train", "test"))
    of_training = diagnostics.refine(own, train, draws=30, effort=diagnostics.BRIEF)
    with pytest.raises(ValueError, match=f"row {train.names.shown([0])} there, and row"):
        diagnostics.pareto_k(own, test, posterior=of_training)


def test_arviz_groups_are_at_refined_draws():
    """Means within 5 standard errors: a false alarm in one of 100,000 such tests."""
    case, pair, x, refined = far_guide()
    results = diagnostics.to_arviz(pair, x, posterior=refined, draws=800)
    z = results["posterior"]["z"].values[0]
    np.testing.assert_array_equal(z, refined.draws["z"][:800])
    exact = case.posterior(x)
    sd = exact.stddev.numpy()
    assert (abs(z.mean(0) - exact.loc.numpy()) < 5 * sd / np.sqrt(300)).all()
    plain = diagnostics.to_arviz(pair, x, draws=800)["posterior"]["z"].values[0]
    assert (abs(plain.mean(0) - exact.loc.numpy()) > 5 * sd / np.sqrt(300)).any()

    given = torch.as_tensor(z)
    mean = given @ case.loadings.T + case.offset
    density = torch.distributions.Normal(mean, case.noise).log_prob(x).sum(-1)
    np.testing.assert_allclose(results["log_likelihood"]["x"].values[0], density, rtol=1e-9)
    predicted = results["posterior_predictive"]["x"].values[0]
    deviation = (predicted - mean.numpy()) / case.noise
    assert abs(deviation.mean()) < 5 / np.sqrt(deviation.size)
    assert abs(deviation.std() - 1) < 5 / np.sqrt(2 * deviation.size)


def test_more_draws_than_the_posterior_has_are_refused():
    _, pair, x, refined = far_guide()
    with pytest.raises(ValueError, match="draws is 1001, and posterior has 1000"):
        diagnostics.to_arviz(pair, x, posterior=refined, draws=1001)


def test_gaps_take_log_evidence_of_refined_draws():
    case, pair, x, refined = far_guide()
    exact = case.terms(x)
    table = diagnostics.gaps(
        pair, x, log_evidence=refined.table, normal=False, draws=100, steps=8, particles=2
    )
    np.testing.assert_array_equal(table.log_evidence, refined.table.log_evidence)
    missed = exact["posterior_kl"].numpy()
    assert (abs(table.total.values - missed) < 5 * table.total_error.values).all()
    assert (table.total_error < missed).all()


def test_surgery_of_refined_draws_is_that_of_the_posterior():
    """As of a guide that is the posterior, within 5 of its Monte Carlo errors, and not as here."""
    case = LinearGaussian.random(1, features=4, orthogonal=True, perturbation=0)
    x = case.draw(8, seed=2)
    exact, far = case.pair(), replace(case, scale=0.2 * case.scale).pair()
    refined = diagnostics.refine(far, x, draws=400)
    wanted = diagnostics.surgery(exact, x, draws=100)
    found = diagnostics.surgery(far, x, posterior=refined, draws=100)
    plain = diagnostics.surgery(far, x, draws=100)
    known = ["kl", "mutual_information", "marginal_kl"]
    truth, mine, other = (each.terms["mean"].sel(term=known) for each in (wanted, found, plain))
    errors = (each.terms.monte_carlo_error.sel(term=known) for each in (wanted, found))
    error = np.hypot(*errors)
    assert (abs(mine - truth) < 5 * error).all()
    assert (abs(other - truth) > 5 * error).any()
    kl = float(case.terms(x)["kl"].mean())  # of the posterior, which the exact guide is
    assert abs(float(mine.sel(term="kl")) - kl) < 5 * float(error.sel(term="kl"))
    assert set(found.undefined) == {"total_correlation", "dimension_kl"}
    assert found.terms["mean"].sel(term="total_correlation").isnull()


def test_surgery_of_refined_draws_scores_every_draw_by_the_model_at_every_datapoint():
    case = LinearGaussian.random(1, features=4, orthogonal=True, perturbation=0)
    x = case.draw(5, seed=2)
    pair = case.pair()
    refined = diagnostics.refine(pair, x, draws=50)
    found = diagnostics.surgery(pair, x, posterior=refined, draws=3, memory=20_000)
    z = refined.draws["z"][:3]
    posterior = case.posterior(x)
    components = posterior.log_prob(z.unsqueeze(2))  # (draw, data, component)
    own = components.diagonal(dim1=1, dim2=2)
    information = own - components.logsumexp(-1) + np.log(5)
    mean = float(found.terms["mean"].sel(term="mutual_information"))
    assert abs(mean - float(information.mean())) < 1e-9


class Mixture:
    """k ~ 0 or 1, z ~ N(3 k, 1), x | z ~ N(z, 1): the guide draws both, narrow and beside it."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Bernoulli(torch.full((), 0.5)))
            z = pyro.sample("z", dist.Normal(3 * k, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Bernoulli(torch.full((), 0.5)))
            pyro.sample("z", dist.Normal(x / 2 + 1, 0.2))

    def posterior_mean(self, x):
        evidence = [0.5 * dist.Normal(3.0 * k, 2**0.5).log_prob(x).exp() for k in (0, 1)]
        share = evidence[1] / (evidence[0] + evidence[1])
        return x / 2 + 1.5 * share


@pytest.mark.slow
def test_discrete_latents_that_refine_sums_out_are_summed_out_in_its_uses():
    pair, x = Mixture(), torch.tensor([-1.0, 1.5, 4.0])
    refined = diagnostics.refine(pair, x, draws=1000)
    assert set(refined.weighted) == {"z"}
    results = diagnostics.to_arviz(pair, x, posterior=refined, draws=100)
    z, predicted = (
        results[group][name].values[0]
        for group, name in (("posterior", "z"), ("posterior_predictive", "x"))
    )
    exact = pair.posterior_mean(x).numpy()
    limit = 5 * 1.5 / np.sqrt(100)  # a posterior's standard deviation is below 1.5
    assert (abs(z.mean(0) - exact) < limit).all()
    assert (abs(predicted.mean(0) - exact) < limit).all()
    found = diagnostics.surgery(pair, x, posterior=refined, draws=50)
    assert 0 < float(found.terms["mean"].sel(term="mutual_information")) < np.log(3)
