"""One datapoint's failure is that datapoint's, in every diagnostic."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import scipy.stats  # noqa: F401, imported late it would change the warning filters
import sklearn.linear_model
import sklearn.neighbors  # noqa: F401
import torch
from torch.distributions import constraints

import ppvae
from ppvae import diagnostics
from ppvae.data import Dataset
from ppvae.diagnostics import Effort, Verdict, diagnose
from tests.engine.test_failures import Fragile, rows

BAD = {5: 90.0, 30: -80.0}
SOUND = [row for row in range(40) if row not in BAD]
WARNING = "2 of 40 datapoints could not be measured, row 5, 30: Expected parameter scale"


@pytest.mark.parametrize("name", ["evidence", "pareto_k", "weights"])
def test_the_others_have_the_numbers_that_they_have_alone(name):
    measure = getattr(diagnostics, name)
    x = rows(BAD)
    with pytest.warns(UserWarning, match=WARNING):
        found = measure(Fragile(), x, draws=50)
    alone = measure(Fragile(), x[SOUND], draws=50)
    assert alone.equals(found.isel(data=SOUND))
    values = found.to_dataset(name="w") if name == "weights" else found
    for part in values.isel(data=list(BAD)).values():
        assert bool((~part if part.dtype == bool else part.isnull()).all())
    assert found.attrs == alone.attrs


def test_means_are_over_the_others():
    with pytest.warns(UserWarning, match=WARNING):
        found = diagnostics.summarize(diagnostics.evidence(Fragile(), rows(BAD), draws=50))
    alone = diagnostics.summarize(diagnostics.evidence(Fragile(), rows(BAD)[SOUND], draws=50))
    assert found.identical(alone)
    assert found.attrs["data"] == 38


def test_ranks_of_failed_rows_are_missing():
    with pytest.warns(UserWarning, match=WARNING):
        found = diagnostics.pit(Fragile(), rows(BAD), draws=19)
    alone = diagnostics.pit(Fragile(), rows(BAD)[SOUND], draws=19)
    assert found.ranks.isel(data=SOUND).equals(alone.ranks)
    assert (found.ranks.seen[list(BAD)] == -1).all()
    assert found.p_value.equals(alone.p_value)


@pytest.mark.parametrize("name", ["mmd", "posterior_predictive_check"])
def test_tests_of_all_data_leave_them_out(name):
    def measure(x):
        options = {"statistics": {"mean": lambda x: x.mean()}} if name != "mmd" else {}
        return getattr(diagnostics, name)(Fragile(), x, **options)

    with pytest.warns(UserWarning, match=WARNING):
        found = measure(rows(BAD))
    assert found.equals(measure(rows(BAD)[SOUND]))


LONG = {
    "gaps": {"steps": 8, "particles": 2, "draws": 10},
    "ais": {"temperatures": 4, "chains": 2, "leapfrogs": 2},
    "bound_table": {"draws": 21, "temperatures": 4, "chains": 2, "leapfrogs": 2},
    "active_units": {},
    "surgery": {},
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n in ("ais", "bound_table") else ()) for n in LONG],
)
def test_long_measurements_leave_them_out_too(name):
    x = rows(BAD, 40)[25:35]  # of which one fails

    def measure(part):
        return getattr(diagnostics, name)(Fragile(), part, **LONG[name])

    with pytest.warns(UserWarning, match="1 of 10 datapoints could not be measured, row 5"):
        found = measure(x)
    alone = measure(torch.cat([x[:5], x[6:]]))
    if name == "active_units":
        found, alone = found.variance, alone.variance
    elif name == "surgery":
        found, alone = found.terms, alone.terms
    else:
        assert bool(found.log_evidence.isel(data=5).isnull().all())
        assert not found.converged[5] if "converged" in found else True
        found = found.isel(data=[*range(5), *range(6, 10)])
    assert found.equals(alone)


def test_exported_draws_are_nan_for_them():
    with pytest.warns(UserWarning, match="1 of 10 datapoints could not be measured, row 5"):
        found = diagnostics.to_arviz(Fragile(), rows(BAD)[25:35], draws=10)
    for group, name in (("posterior", "z"), ("sample_stats", "log_weight")):
        missing = np.isnan(found[group][name].values[0]).any(0)
        assert np.flatnonzero(missing).tolist() == [5]


@pytest.mark.parametrize("name", ["probes", "disentanglement"])
def test_scores_of_labels_and_factors_leave_them_out(name):
    generator = torch.Generator().manual_seed(1)
    parts = {
        split: rows({row: value for row, value in BAD.items() if split != "validation"}, 60)
        for split in ("train", "validation", "test")
    }
    classes = {split: (x > 0).long() for split, x in parts.items()}
    values = {
        split: torch.stack([x, torch.rand(60, generator=generator)], 1)
        for split, x in parts.items()
    }

    def measured(keep):
        dataset = Dataset(
            "rows",
            *(x[keep] for x in parts.values()),
            constraints.real,
            labels={split: label[keep] for split, label in classes.items()},
            factors={split: value[keep] for split, value in values.items()},
            factor_names=("seen", "other"),
        )
        options = {} if name == "probes" else {"resamples": 2}
        return getattr(diagnostics, name)(Fragile(), dataset, rows=100, **options)

    with pytest.warns(UserWarning, match="2 of 60 datapoints could not be measured, row 5, 30"):
        found = measured(list(range(60)))
    assert (found.attrs["train"], found.attrs["test"]) == (58, 58)
    alone = measured([row for row in range(60) if row not in BAD])
    if name == "probes":  # of the same datapoints in another order
        assert np.allclose(found.accuracy, alone.accuracy, atol=0.04)
        assert float(found.accuracy.sel(probe="nearest", representation="data")) > 0.9
        assert float(found.majority) == float(alone.majority)
    else:
        assert np.allclose(found.value.sel(score=["mig", "sap"]), alone.value[:2])


@pytest.mark.slow
@pytest.mark.parametrize("from_guide", [True, False])
def test_bounds_from_both_sides_take_no_template_from_them(from_guide):
    x = rows(BAD)[25:35]
    options = {"simulations": 9, "temperatures": 3, "chains": 2, "leapfrogs": 1}
    with pytest.warns(UserWarning, match="1 of 10 datapoints could not be measured, row 5"):
        found = diagnostics.bdmc(Fragile(), x, from_guide=from_guide, **options)
    sound = torch.cat([x[:5], x[6:]])
    assert found.equals(diagnostics.bdmc(Fragile(), sound, from_guide=from_guide, **options))


class Bounded(ppvae.posteriors.Posterior):
    """A posterior whose scale is 0 on rows above 50."""

    outputs_per_feature = 1

    def forward(self, *conditions):
        loc = self.outputs(*conditions)[0]
        return dist.Normal(loc, (50 - conditions[0]).clamp(min=0.0)).to_event(1)


def test_encode_names_the_rows_that_it_fails_on():
    pair = ppvae.VAE(
        ppvae.priors.StandardNormal(1),
        ppvae.likelihoods.Normal(torch.nn.Linear(1, 1), scale=1.0),
        Bounded(torch.nn.Linear(1, 1)),
    )
    x = torch.tensor([[0.0], [1.0], [60.0], [2.0]])
    with pytest.raises(ValueError, match="parameter scale") as caught:
        pair.encode(x)
    assert caught.value.__notes__ == ["while encode ran on data of shape (4, 1); leave out row 2"]
    with pytest.raises(ValueError, match="parameter scale") as caught:
        pair.encode(x[2])
    assert caught.value.__notes__ == ["while encode ran on data of shape (1,)"]


class Wide(Fragile):
    """A model of which some simulated data lie where the guide fails."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 40.0))
            pyro.sample("seen", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        scale = torch.where(x.abs() > 50, 0.0, (1 + 40.0**-2) ** -0.5)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / (1 + 40.0**-2), scale))


def test_simulated_datapoints_that_the_guide_fails_on_are_left_out():
    with pytest.warns(UserWarning, match=r"the pair fails on \d+ of 200 simulated datapoints"):
        found = diagnostics.sbc(Wide(), rows({}), simulations=200, draws=19)
    # P(|x| < 50) is 0.79.
    assert 130 < found.ranks.sizes["simulation"] < 185
    assert float(found.p_value.z) > 1e-4


def test_bounds_from_both_sides_leave_out_simulations_that_the_guide_fails_on():
    options = {"temperatures": 3, "chains": 2, "leapfrogs": 1}
    with pytest.warns(UserWarning, match=r"the pair fails on \d+ of 60 simulated datapoints"):
        found = diagnostics.bdmc(Wide(), rows({}), simulations=60, from_guide=True, **options)
    assert 35 < found.sizes["simulation"] < 58  # P(|x| < 50) is 0.79
    assert abs(float(found.gap)) < 0.01  # the guide is exact elsewhere


def test_outliers_that_the_pair_fails_on_are_the_furthest_out():
    known = rows({}, 99)
    x = torch.tensor([0.0, 90.0, 6.0, 1e30])
    with pytest.warns(UserWarning, match="2 of 4 datapoints"):
        found = diagnostics.outlier_score(Fragile(), x, reference=known, draws=20)
    assert found.attrs["smallest"] == 0.01
    assert found.p_value.values[[1, 3]].tolist() == [0.01, 0.01]
    assert found.typicality_p_value.values[[1, 3]].tolist() == [0.01, 0.01]
    assert np.isnan(found.log_evidence.values[[1, 3]]).all()
    assert found.p_value.values[0] > 0.5
    with pytest.warns(UserWarning, match="1 of 1 datapoints"):
        one = diagnostics.outlier_score(Fragile(), x[1:2], reference=known, draws=20)
    assert one.p_value.values.tolist() == [0.01]


def test_p_values_of_outliers_have_no_noise():
    known, x = rows({}, 99), torch.tensor([40.0, 41.0, 0.3])
    found = [
        diagnostics.outlier_score(Fragile(), x, reference=known, draws=200, seed=seed)
        for seed in range(3)
    ]
    for score in found:
        assert score.p_value.values[:2].tolist() == [0.01, 0.01]
        steps = score.p_value.values * 100
        assert np.allclose(steps, steps.round())


class Overflowing(Fragile):
    """A decoder that overflows without an error on rows above 20."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            loc = torch.where(x > 20, math.inf, z)
            pyro.sample("seen", dist.Normal(loc - loc + z, 1.0, validate_args=False), obs=x)


def test_what_is_not_finite_is_nan_in_its_own_row():
    x = rows({7: 30.0})
    with pytest.warns(UserWarning, match="1 of 40 datapoints could not be measured, row 7"):
        found = diagnostics.evidence(Overflowing(), x, draws=50)
    assert np.flatnonzero(np.isnan(found.log_evidence)).tolist() == [7]
    assert np.isfinite(diagnostics.summarize(found)["mean"]).all()
    with pytest.warns(UserWarning, match="row 7: its replicates are NaN"):
        ranked = diagnostics.pit(Overflowing(), x, draws=19)
    assert np.flatnonzero(ranked.ranks.seen < 0).tolist() == [7]


def test_a_diagnosis_names_them_and_is_about_the_others():
    effort = Effort(datapoints=40, draws=50)
    found = diagnose(Fragile(), rows(BAD), effort=effort)
    first = found.findings[0]
    assert first.verdict is Verdict.BAD
    assert first.answer == "the pair cannot be run on 2 of 40: rows 5, 30"
    terms = found.findings[1].results["evidence"]
    assert sorted(terms.data.values.tolist()) == SOUND
    assert np.isfinite(terms.log_evidence).all()
