"""Results say which rows, columns and classes they are about, as the dataset calls them."""

import re

import numpy as np
import pytest
import sklearn.ensemble  # noqa: F401, it is imported late, and draws random numbers then
import torch
from torch import nn

import ppvae
from ppvae import data, diagnostics, pairs
from ppvae.diagnostics.names import named_batch

COLUMNS = ("height", "weight", "age")


@pytest.fixture
def people():
    generator = np.random.default_rng(0)
    frame = {name: generator.normal(10, 2, 200) for name in COLUMNS}
    frame["kind"] = np.array(["cat", "dog"] * 100)
    frame["id"] = np.array([f"no {row}" for row in range(200)])
    return data.table(frame, label="kind", id="id")


@pytest.fixture
def pair(people):
    torch.manual_seed(0)
    return pairs.assemble(people, latent=1)


def test_results_have_the_row_numbers_names_and_classes_of_the_dataset(people, pair):
    terms = diagnostics.evidence(pair, people, draws=30)
    rows = people.rows["test"].tolist()
    assert terms["data"].values.tolist() == rows
    assert terms.row_name.values.tolist() == [f"no {row}" for row in rows]
    assert terms.label.values.tolist() == [["cat", "dog"][row % 2] for row in rows]
    plain = diagnostics.evidence(pair, people.test, draws=30)
    assert "data" not in plain.coords
    np.testing.assert_array_equal(terms.log_evidence, plain.log_evidence)
    for found in (
        diagnostics.pareto_k(pair, people, draws=30).pooled_k,
        diagnostics.outlier_score(pair, people, reference=people, draws=5).p_value,
        diagnostics.compare({"one": pair}, people, draws=30).log_evidence,
        diagnostics.to_arviz(pair, people, draws=2)["log_likelihood"]["x"],
    ):
        assert found["data"].values.tolist() == rows
        assert found.row_name.values.tolist() == [f"no {row}" for row in rows]


def test_features_have_the_names_of_the_columns_and_latents_do_not(people):
    torch.manual_seed(0)
    pair = pairs.assemble(people, latent=3)  # as many latents as columns
    ranked = diagnostics.pit(pair, people, draws=9, proposals=2)
    assert ranked.p_value.x.x_dim_0.values.tolist() == list(people.columns)
    found = diagnostics.to_arviz(pair, people, draws=2)
    assert found["observed_data"]["x"].x_dim_0.values.tolist() == list(people.columns)
    assert found["posterior"]["z"].z_dim_0.values.tolist() == [0, 1, 2]
    means = {"mean": lambda x: x.mean(0)}
    check = diagnostics.posterior_predictive_check(pair, people, statistics=means, draws=3)
    assert check.mean_p_value.sel(mean_dim_0="age").shape == ()


class FailingAt(nn.Module):
    """An encoder whose scale is NaN where x is above a threshold."""

    def __init__(self, threshold):
        super().__init__()
        self.threshold = threshold

    def forward(self, x):
        bad = x[..., :1] > self.threshold
        return torch.where(bad, torch.nan, torch.zeros_like(x[..., :2]))


def test_warnings_and_verdicts_name_the_rows(people, pair):
    highest = people.test[:, 0].argmax()
    threshold = people.test[:, 0].sort().values[-2:].mean()
    pair.posterior.network = FailingAt(threshold)
    row = int(people.rows["test"][highest])
    with pytest.warns(UserWarning, match=re.escape(f"row {row} (no {row}): ")):
        terms = diagnostics.evidence(pair, people, draws=30)
    assert np.isnan(terms.log_evidence.sel(data=row))
    with pytest.warns(UserWarning, match=re.escape(f"row {row} (no {row}): ")):
        diagnostics.evidence(pair, named_batch(people, "test"), draws=30)
    effort = diagnostics.Effort(datapoints=200, draws=30)
    text = str(diagnostics.diagnose(pair, people, effort=effort))
    assert f"rows {row} (no {row})" in text
    worst = re.search(r"Worst rows: (.*)\.", " ".join(text.split()))
    assert worst is None or re.match(r"(\d+) \(no \1\)", worst[1])


@pytest.mark.slow
def test_a_diagnosis_of_a_pair_with_classes_asks_for_them_and_keeps_names(people, tmp_path):
    given = people.conditional()
    torch.manual_seed(0)
    pair = pairs.assemble(given, latent=1)
    ppvae.fit(pair, given, epochs=2)
    effort = diagnostics.Effort(datapoints=30, draws=30, samples=60, labeled=100)
    found = diagnostics.diagnose(pair, given, effort=effort)
    (classes,) = (finding for finding in found.findings if finding.name == "classes")
    assert classes.results["condition_use"]["class"].values.tolist() == ["cat", "dog"]
    tree = found.to_arviz()
    chosen = tree["evidence"]
    assert [f"no {row}" for row in chosen["data"].values] == chosen["row_name"].values.tolist()
    assert tree["pit"]["x"].x_dim_0.values.tolist() == list(COLUMNS)
    tree.to_netcdf(tmp_path / "found.nc", engine="h5netcdf")
