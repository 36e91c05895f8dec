"""The KL of each latent site, against closed forms of two linear-Gaussian layers.

Comparisons with 4 standard errors over 40 datapoints raise a false alarm in 0.3 % of seeds.
"""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import ppvae
from ppvae import diagnostics
from ppvae.diagnostics import Effort, kl_per_site
from tests.pairs.layered_gaussian import LayeredGaussian

EXACT = LayeredGaussian.random([0.9, -1.2])
ONE = LayeredGaussian.random([1.3, 0.0])


@pytest.mark.parametrize("wrong", [0.0, 0.1])
def test_the_layers_of_a_ladder_have_the_closed_form(wrong):
    x = EXACT.draw(40)
    found = kl_per_site(EXACT.ladder(wrong), x, draws=200)
    expected = EXACT.ladder_kl(x, wrong).numpy()
    assert found.site.values.tolist() == ["z2", "z1"]
    # The top layer depends on no draw.
    np.testing.assert_allclose(found.kl.sel(site="z2"), expected[1], rtol=1e-9)
    assert float(found.kl_error.sel(site="z2").max()) < 1e-12
    lower = found.sel(site="z1")
    assert bool((abs(lower.kl - expected[0]) < 4 * lower.kl_error).all())
    assert 0 < float(lower.kl_error.mean()) < 0.2


def test_bottom_up_the_sites_add_up_to_the_whole():
    x = ONE.draw(40)
    found = kl_per_site(ONE.bottom_up(), x, draws=400)
    # The exact posterior is that of the exact ladder, and so is its KL from the prior.
    total = ONE.ladder_kl(x).sum(0).numpy()
    error = found.kl_error.sum("site")  # at least that of the sum
    assert bool((abs(found.kl.sum("site") - total) < 4 * error).all())


class Dead(torch.nn.Module):
    """z is used, and `unused` is not."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("unused", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, x.new_ones(3)).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            loc = x.mean(-1, keepdim=True) * 3 / 4
            pyro.sample("z", dist.Normal(loc, 0.5).to_event(1))
            pyro.sample("unused", dist.Normal(x.new_zeros(2), 1.0).to_event(1))


def test_diagnose_names_a_site_without_information():
    x = torch.randn(60, 1) + torch.randn(60, 3)
    effort = Effort(datapoints=60, draws=50)
    found = {f.name: f for f in diagnostics.diagnose(Dead(), x, effort=effort).findings}
    layers = found["latent sites"]
    assert layers.verdict is diagnostics.Verdict.LOOK
    assert layers.answer.startswith("KL of unused 0.00, z ")
    assert "unused" in layers.advice
    one = diagnostics.diagnose(EXACT.ladder(), EXACT.draw(60), effort=effort)
    fine = {f.name: f for f in one.findings}["latent sites"]
    assert fine.verdict is diagnostics.Verdict.FINE


def test_a_site_that_is_summed_out_above_is_refused():
    class Mixed(Dead):
        def model(self, x):
            with pyro.plate("data", len(x)):
                k = pyro.sample("k", dist.Categorical(x.new_ones(2)))
                loc = k.to(x.dtype)[..., None]
                z = pyro.sample("z", dist.Normal(loc, 1.0).to_event(1))
                pyro.sample("x", dist.Normal(z, x.new_ones(3)).to_event(1), obs=x)

        def guide(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(x.mean(-1, keepdim=True), 1.0).to_event(1))

    with pytest.raises(ppvae.Unsupported, match="'z' depends on a site that is summed out"):
        kl_per_site(Mixed(), torch.randn(5, 3), draws=2)
