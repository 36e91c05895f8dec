"""Features that a mask hides do not count, wherever the mask stands: an exact pair is fine."""

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from ppvae import diagnostics
from ppvae.diagnostics import (
    Effort,
    classifier_two_sample,
    diagnose,
    mmd,
    prior_predictive_check,
)
from ppvae.diagnostics.model_fit.replicates import observations, replicate
from ppvae.engine import isolated, seeds
from tests.engine.test_masks import Nan
from tests.exact_pairs import MaskedLinearGaussian
from tests.marks import slow_but
from tests.masked import NOISE, Around, Within, drawn

ROWS = 400


class Constant(Within):
    """Missing features have a distribution of their own, a constant: Pyro's `MaskedMixture`."""

    def likelihood(self, loc, seen, x):
        hidden = dist.Normal(torch.zeros_like(loc), 1.0).mask(torch.tensor(False))
        return dist.MaskedMixture(seen, hidden, dist.Normal(loc, NOISE)).to_event(1)


def measured(pair, batch):
    square = {"square": lambda x: x.square().mean((-2, -1))}
    ranked = diagnostics.pit(pair, batch, draws=19, proposals=1)
    told = diagnostics.classifier_two_sample(
        *(pair, batch), classifier=NearestCentroid(), permutations=9, progress=False
    )
    check = diagnostics.posterior_predictive_check(pair, batch, statistics=square, draws=20)
    return {
        "pit": ranked.p_value.x.values,
        "mmd": diagnostics.mmd(pair, batch, permutations=99).p_value.values,
        "classifier": told.p_value.values,
        "check": check.square_p_value.values,
        "ranks": ranked.ranks.x.values,
    }


@pytest.fixture(scope="module")
def around():
    return measured(Around(), drawn(ROWS))


@pytest.mark.parametrize("kind", slow_but({Within}, [Within, Nan, Constant]))
def test_every_diagnostic_gives_the_numbers_of_a_mask_around_the_site(kind, around):
    found = measured(kind(), drawn(ROWS))
    for name, value in around.items():  # a mixture draws its hidden component too
        assert kind is Constant or np.array_equal(found[name], value), name
    # Each is uniform: one of nine numbers is below this by chance in one of ten thousand runs.
    assert min(value.min() for name, value in found.items() if name != "ranks") > 1e-5
    assert ((found["ranks"] < 0) == ~drawn(ROWS)[1].numpy()).all()


def test_numbers_that_stand_where_features_are_hidden_do_not_count(around):
    x, seen = drawn(ROWS)
    true = torch.where(seen, x, x.sum(-1, keepdim=True))  # they depend on those that are seen
    for name, value in measured(Around(), (true, seen)).items():
        assert np.array_equal(value, around[name]), name


def alarms(test, runs, rows):
    """Count p-values below 5 % on data whose hidden features are the true ones."""
    pair = MaskedLinearGaussian(2, 5)
    batches = [pair.simulate(rows, 1000 + seed) for seed in range(runs)]
    values = [float(test(pair, batch, seed=s).p_value) for s, batch in enumerate(batches)]
    return sum(value < 0.05 for value in values)


@pytest.mark.slow
def test_samples_of_the_right_model_cause_an_alarm_at_the_rate_of_the_test():
    # More than 5 of 20 are below 5 % by chance in one of 3000 runs.
    assert alarms(lambda *given, **seed: mmd(*given, permutations=99, **seed), 20, 150) <= 5


@pytest.mark.slow
def test_a_classifier_causes_an_alarm_at_the_rate_of_the_test():
    def told(*given, **seed):
        classifier = KNeighborsClassifier(10)
        options = {"classifier": classifier, "folds": 2, "permutations": 19, "progress": False}
        return classifier_two_sample(*given, **options, **seed)

    assert alarms(told, 10, 300) <= 3  # more, by chance, in one of 1000 runs


def test_predictive_checks_of_the_right_model_are_uniform_where_hidden_features_are_true():
    pair = MaskedLinearGaussian(2, 5)
    products = {"products": lambda x: (x.T @ x / len(x)).square().sum()}
    check = prior_predictive_check(pair, pair.simulate(ROWS, 1000), statistics=products, draws=199)
    assert 0.005 < float(check.products_p_value) < 0.995  # but for one of a hundred data sets


def test_what_stands_in_all_rows_where_a_feature_is_hidden_stays_there():
    x, seen = drawn(20)
    values, _ = observations(Around(), (x.masked_fill(~seen, -1.0), seen))
    assert bool((values["x"][~seen] == -1).all())


def test_replicates_keep_the_hidden_features():
    x, seen = drawn(20)
    with isolated(Within(), 0):
        (block,) = replicate(Within(), (x, seen), 3, 2**26, seeds(0))
    for drawn_data in (block.predicted["x"], block.simulated["x"]):
        assert bool((drawn_data[:, ~seen] == 0).all())
        assert bool((drawn_data[:, seen] != x[seen]).all())


@pytest.mark.slow
def test_verdicts_of_an_exact_pair_are_fine():
    effort = Effort(datapoints=ROWS, draws=100, samples=ROWS, simulations=200)
    found = {f.name: f for f in diagnose(Within(), drawn(ROWS), effort=effort).findings}
    for name in ("likelihood (PIT)", "samples", "ranks (SBC)", "credible regions"):
        assert found[name].verdict.value == "fine", str(found[name])
