"""Features that a mask hides do not count, wherever the mask stands: an exact pair is fine."""

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from sklearn.neighbors import NearestCentroid

from ppvae import diagnostics
from ppvae.diagnostics import Effort, diagnose
from ppvae.diagnostics.model_fit.replicates import replicate
from ppvae.engine import isolated, seeds
from tests.engine.test_masks import Nan
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
