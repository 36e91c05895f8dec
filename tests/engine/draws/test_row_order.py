"""Parameters that have a row for each datapoint."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal
from scipy.stats import norm

import ppvae
from ppvae import Unsupported, diagnostics

ROWS = 40
X = torch.linspace(-4, 4, ROWS)


class Sliced:
    """z ~ N(0, 1), x | z ~ N(z, 1); the guide has each exact posterior as parameters."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.loc()[: len(x)], 0.5**0.5))

    def loc(self):
        return pyro.param("loc", X / 2)


class Whole(Sliced):
    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.loc(), 0.5**0.5))


class Automatic(Sliced):
    def __init__(self):
        self.guide = AutoNormal(self.model, init_loc_fn=lambda site: X / 2, init_scale=0.5**0.5)
        self.guide(X)


EXACT = norm(scale=2**0.5).logpdf(X.numpy())


@pytest.mark.parametrize("made", [Sliced, Whole, Automatic])
def test_rows_with_parameters_are_not_cut(made):
    terms = diagnostics.evidence(made(), X, draws=20, memory=2**10)
    assert abs(terms.log_evidence.values - EXACT).max() < 1e-4


@pytest.mark.parametrize("made", [Sliced, Whole, Automatic])
def test_rows_with_parameters_keep_their_order_in_diagnose(made):
    found = diagnostics.diagnose(made(), X, effort=diagnostics.Effort(datapoints=ROWS, draws=100))
    terms = found.findings[0].results["evidence"]
    assert abs(terms.log_evidence.values - EXACT).max() < 1e-4


@pytest.mark.parametrize("made", [Whole, Automatic])
def test_fewer_rows_than_parameters_are_refused_with_what_to_pass(made):
    pair = made()
    with pytest.raises(Unsupported, match=f"pass all {ROWS}"):
        pyro.clear_param_store()
        diagnostics.evidence(pair, X[:10], draws=20)


def test_ranks_of_simulated_data_need_a_guide_that_reads_them():
    with pytest.raises(Unsupported, match="parameters for each row"):
        diagnostics.sbc(Sliced(), X, simulations=ROWS, draws=9)


@pytest.mark.parametrize("made", [Whole, Sliced])
def test_fit_takes_all_rows_in_one_batch(made):
    pyro.clear_param_store()
    data = torch.linspace(-1, 1, 1100)

    class Many(made):
        def loc(self):
            return pyro.param("loc", torch.zeros(1100))

    fitted = ppvae.fit(Many(), data, batch_size=1100, epochs=2, compile=False, progress=False)
    assert fitted.steps == 2
