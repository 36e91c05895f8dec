"""Draws given to a pair are scored as the guide's own, whatever the way of running them."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from ppvae.engine import Way, draw_chunks, isolated, structure_of, way_of
from ppvae.engine.draws.drawn import stacked
from tests.engine.draws.test_folding import Asserts, FixedPlate, X
from tests.engine.draws.test_vectorization import OwnDrawsAlone


class Plates:
    """Latents in plates left and right of that of the data, so that axes must be put in order."""

    def model(self, x):
        with pyro.plate("data", len(x), dim=-2):
            a = pyro.sample("a", dist.Normal(x.new_zeros(len(x), 1, 2), 1.0).to_event(1))
            with pyro.plate("right", 4, dim=-1):
                b = pyro.sample("b", dist.Normal(a.sum(-1), 1.0))
                with pyro.plate("left", 5, dim=-3):
                    c = pyro.sample("c", dist.Normal(b, 1.0))
                pyro.sample("x", dist.Normal(c.sum(-3, keepdim=True), 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("a", dist.Normal(x[:, None, :2], 1.0).to_event(1))
            with pyro.plate("right", 4, dim=-1):
                pyro.sample("b", dist.Normal(x, 0.5))
                with pyro.plate("left", 5, dim=-3):
                    pyro.sample("c", dist.Normal(x, 2.0))


WAYS = {Plates: Way.AT_ONCE, Asserts: Way.FOLDED, FixedPlate: Way.ONE_BY_ONE}


@pytest.mark.parametrize(("made", "way"), WAYS.items())
def test_given_draws_are_scored_as_those_that_the_guide_makes(made, way):
    pair = made()
    with isolated(pair, 0):
        assert way_of(pair, (X,), structure_of(pair, (X,))) is way
        ((_, _, parts),) = draw_chunks(pair, (X,), 7, 2**26)
        own = joined(parts)
    with isolated(pair, 1):  # other random numbers
        ((_, _, parts),) = draw_chunks(pair, (X,), 7, 2**26, given=own.latents)
        again = joined(parts)
    for name, values in own.latents.items():
        torch.testing.assert_close(again.latents[name], values, rtol=0, atol=0)
    for name in ("log_prior", "log_likelihood", "log_posterior"):
        torch.testing.assert_close(getattr(again, name), getattr(own, name))


def joined(parts):
    return stacked(list(parts))


def test_a_guide_that_scores_its_own_draws_alone_leaves_the_model_scored():
    pair, x = OwnDrawsAlone(), X[:, :1]
    given = {"z": torch.linspace(-1, 1, 18).reshape(3, 6, 1)}
    with isolated(pair, 0):
        ((_, _, parts),) = draw_chunks(pair, (x,), 3, 2**26, given=given)
        scored = joined(parts)
    assert scored.log_posterior.isnan().all()
    normal = torch.distributions.Normal(given["z"], 1.0)
    torch.testing.assert_close(scored.log_likelihood, normal.log_prob(x).sum(-1))


def test_draws_of_other_sites_are_refused():
    pair = Asserts()
    with isolated(pair, 0), pytest.raises(ValueError, match="sites y; expected z, which"):
        for _, _, parts in draw_chunks(pair, (X,), 2, 2**26, given={"y": torch.zeros(2, 6, 2)}):
            list(parts)
