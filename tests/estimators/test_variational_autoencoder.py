"""The estimator beside others of scikit-learn."""

import functools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from ppvae import data, diagnostics, likelihoods, networks
from ppvae.estimators import VariationalAutoencoder

IRIS, SPECIES = load_iris(return_X_y=True)


def small(**options):
    """Return an estimator that is trained for a moment."""
    network = functools.partial(networks.MLP, hidden=(32,))
    given = {"network": network, "steps": 5, "draws": 50, "random_state": 0, **options}
    return VariationalAutoencoder(**given)


@pytest.fixture(scope="module")
def birds():
    random = np.random.default_rng(0)
    species = random.choice(["Adelie", "Gentoo", "Chinstrap"], 90)
    frame = pd.DataFrame(
        {
            "species": species,
            "mass": np.where(species == "Gentoo", 5000.0, 3700.0) + random.normal(0, 300, 90),
            "sex": random.choice(["female", "male"], 90),
            "eggs": random.poisson(6, 90),
            "one": 1,
        }
    )
    frame.loc[3:7, "mass"] = np.nan
    frame.loc[5:9, "sex"] = None
    return frame


def test_one_seed_gives_one_result_and_leaves_the_global_states():
    torch.manual_seed(7), np.random.seed(7)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, second = small().fit(IRIS), small().fit(IRIS)
    for method in ("transform", "score_samples"):
        np.testing.assert_array_equal(
            getattr(first, method)(IRIS), getattr(second, method)(IRIS), strict=True
        )
    np.testing.assert_array_equal(first.sample(4), second.sample(4))
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()
    assert not np.array_equal(first.transform(IRIS), small(random_state=1).fit_transform(IRIS))
    assert not np.array_equal(first.sample(4), first.sample(4, random_state=1))


def test_shapes_and_attributes():
    model = small(latent=3, epochs=2, steps=None).fit(IRIS)
    means = model.transform(IRIS)
    assert means.shape == (150, 3) and means.dtype == np.float64
    assert model.inverse_transform(means).shape == model.sample(150).shape == (150, 4)
    assert list(model.get_feature_names_out()) == [f"variationalautoencoder{i}" for i in range(3)]
    assert model.n_iter_ == 2 and model.n_features_in_ == 4 and model.schema_ is None
    assert model.history_.sizes["step"] >= 1 and "validation_elbo" in model.history_


def test_scores_are_those_of_the_diagnostics():
    model = small(draws=500, steps=50).fit(IRIS)
    rows = IRIS[::15]
    terms = diagnostics.evidence(model.pair_, rows, draws=500)
    gap = model.score_samples(rows) - terms.log_evidence.values
    assert abs(gap.mean()) < 0.1 and np.abs(gap).max() < 0.5
    assert model.score(rows) == pytest.approx(model.score_samples(rows).mean())


def test_units_change_the_density_by_their_jacobian():
    in_meters, in_kilometers = small().fit(IRIS), small().fit(IRIS / 1000)
    gap = in_kilometers.score(IRIS / 1000) - in_meters.score(IRIS)
    assert gap == pytest.approx(4 * math.log(1000), abs=1e-4)
    rows = in_meters.inverse_transform(in_meters.transform(IRIS))
    scaled = in_kilometers.inverse_transform(in_kilometers.transform(IRIS / 1000))
    np.testing.assert_allclose(scaled * 1000, rows, rtol=1e-4)


def test_values_whose_differences_32_bits_lose_are_refused():
    with pytest.raises(ValueError, match="the values of feature 0 of X differ by too little"):
        small().fit(IRIS + 2.0**30)


@pytest.mark.slow
def test_a_grid_search_finds_the_better_number_of_steps():
    search = GridSearchCV(
        small(batch_size=500), {"steps": [1, 50]}, cv=KFold(2, shuffle=True, random_state=0)
    )
    search.fit(IRIS)
    assert search.best_params_ == {"steps": 50}
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_rows_outside_the_range_of_scaled_ones_have_a_density():
    scores = cross_val_score(make_pipeline(MinMaxScaler(), small()), IRIS, cv=3)
    assert np.isfinite(scores).all()


def test_the_likelihood_follows_from_the_values():
    random = np.random.default_rng(0)
    for rows, family in (
        (random.integers(0, 2, (60, 3)), likelihoods.Bernoulli),
        (random.poisson(30, (60, 3)), likelihoods.NegativeBinomial),
        (random.uniform(0.1, 0.9, (60, 3)), likelihoods.ContinuousBernoulli),
        (random.normal(size=(60, 3)), likelihoods.Normal),
    ):
        model = small().fit(rows)
        assert isinstance(model.pair_.likelihood, family)
        assert np.isfinite(model.score_samples(rows)).all()
    assert isinstance(
        small(likelihood=likelihoods.StudentT).fit(rows).pair_.likelihood, likelihoods.StudentT
    )


def test_a_frame_of_any_columns_with_missing_cells(birds):
    model = small(steps=30).set_output(transform="pandas").fit(birds)
    means = model.transform(birds)
    assert list(means) == ["variationalautoencoder0", "variationalautoencoder1"]
    assert means.index.equals(birds.index)
    assert model.notes_ == ("column 'one' was set aside: it has one value, 1",)
    assert model.n_features_in_ == 5 and list(model.feature_names_in_) == list(birds)
    drawn = model.sample(200)
    for rows in (drawn, model.inverse_transform(means)):
        assert list(rows) == ["species", "mass", "sex", "eggs"]
        assert set(rows["species"]) <= {"Adelie", "Gentoo", "Chinstrap"}
        assert set(rows["sex"]) <= {"female", "male"}
        assert rows["mass"].between(1000, 8000).all()
        assert rows["eggs"].dtype == np.int64 and (rows["eggs"] >= 0).all()
    assert drawn["species"].nunique() == 3
    # What is missing adds nothing: a row with fewer known cells has a larger density on average.
    scores = model.score_samples(birds)
    assert np.isfinite(scores).all()
    assert scores[5] > scores[~birds.isna().any(axis=1)].mean()
    np.testing.assert_array_equal(
        clone(model).set_output(transform="default").fit(birds).transform(birds), means
    )


def test_a_frame_of_types_of_pandas():
    frame = pd.DataFrame(
        {
            "level": pd.Categorical(list("abcab") * 12),
            "count": pd.array([1, 2, None, 4, 5] * 12, dtype="Int64"),
            "yes": pd.array([True, False, None, True, True] * 12, dtype="boolean"),
            "text": pd.array(["x", "y", None, "x", "y"] * 12, dtype="string"),
            "real": np.random.default_rng(0).normal(size=60),
        }
    )
    drawn = small().fit(frame).sample(30)
    assert set(drawn["level"]) <= set("abc") and set(drawn["text"]) <= set("xy")
    assert set(drawn["yes"]) <= {True, False} and set(drawn["count"]) <= {1, 2, 4, 5}


def test_what_the_levels_and_cells_of_fit_exclude_is_said(birds):
    complete = birds.dropna()
    model = small().fit(complete)
    with pytest.raises(ValueError, match=r"X lacks column 'mass' in row 3, or holds a level"):
        model.transform(birds)
    with pytest.raises(ValueError, match="X lacks column 'species' in row 0, or holds a level"):
        model.score_samples(complete.assign(species="Emperor"))
    with pytest.raises(ValueError, match="column 'eggs' holds '-1' in data row 1; expected whole"):
        model.transform(complete.assign(eggs=-1))
    open_minded = small(schema=data.table(birds).schema).fit(complete)
    assert np.isfinite(open_minded.score_samples(birds)).all()
    typed = small(types={"eggs": "aside"}).fit(complete)
    assert list(typed.sample()) == ["species", "mass", "sex"]


def test_an_array_with_missing_cells():
    rows = IRIS.copy()
    rows[::7, 1] = np.nan
    model = small().fit(rows)
    assert np.isfinite(model.transform(rows)).all() and np.isfinite(model.sample(5)).all()
    # Of a row of which all but one cell are missing, the density is that of this cell.
    alone = rows[1:2].copy()
    alone[:, 1:] = np.nan
    assert model.score(alone) > model.score(rows[1:2])
    with pytest.raises(ValueError, match="X lacks feature 1 in row 0"):
        small().fit(IRIS).transform(rows)
    rows[:, 2] = np.nan
    with pytest.raises(ValueError, match="feature 2 of X is missing in all rows"):
        small().fit(rows)
    rows[:] = IRIS
    rows[4] = np.nan
    with pytest.raises(ValueError, match="row 4 of X has no known cell"):
        small().fit(rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent": 0}, "latent must be a whole number of at least 1, got 0"),
        ({"draws": 2.5}, "draws must be a whole number of at least 1, got 2.5"),
        ({"validation_fraction": 1.0}, r"validation_fraction must be in \[0, 1\), got 1.0"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"epochs": 2, "steps": 3}, "pass epochs or steps, not both"),
        ({"types": {"0": "real"}}, "types is for a frame, got it with an array"),
    ],
)
def test_parameters_are_checked_in_fit(options, message):
    model = small(**options)
    with pytest.raises(ValueError, match=message):
        model.fit(IRIS)


def test_arguments_of_a_fitted_estimator_are_checked():
    model = small().fit(IRIS)
    with pytest.raises(ValueError, match="needs 2 latent dimensions, got an array with 3 columns"):
        model.inverse_transform(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="n_samples must be a whole number of at least 1, got 0"):
        model.sample(0)
    with pytest.raises(ValueError, match="contains infinity"):
        model.transform(np.full((2, 4), np.inf))


@pytest.mark.slow
def test_latents_of_iris_tell_the_species_apart():
    classifier = make_pipeline(
        VariationalAutoencoder(2, random_state=0), LogisticRegression(max_iter=1000)
    )
    # PCA of the standardized table: 0.92.
    assert cross_val_score(classifier, IRIS, SPECIES, cv=3).mean() >= 0.92
