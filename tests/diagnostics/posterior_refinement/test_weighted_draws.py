"""What weights tell of averages of z, where z has heavier tails than they have."""

import torch
from torch.distributions import Normal, StudentT

from ppvae.diagnostics.posterior_refinement.weighted_draws import assess

ROWS = 200


def shift(law):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        latents, weights = law.sample((1000, ROWS)), 0.1 * torch.randn(1000, ROWS)
    return assess(weights, {"z": latents}, 10**8).unseen_shift


def test_far_draws_may_move_means_where_tails_are_heavy():
    light, heavy = shift(Normal(0.0, 1.0)), shift(StudentT(2.5))
    # k of light tails is about 0; the error of an average of 1000 draws is .03 sd.
    assert (light > 0).double().mean() < 0.05 and light.max() < 0.01
    # Tails with k = 1 / 2.5: beyond the largest of 1000 draws there is .03 sd of E |z|.
    assert (heavy > 0).double().mean() > 0.9 and 0.01 < heavy.median() < 0.1
