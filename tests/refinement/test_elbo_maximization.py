"""Datapoints that have arrived wait for the last stage."""

import pytest
import torch

from ppvae.engine import structure_of
from ppvae.refinement.elbo_maximization import log_joint, maximize_elbo
from ppvae.refinement.joint_densities import JointDensity, PlainDensity
from ppvae.refinement.own_family import guide_family
from tests.linear_gaussian import LinearGaussian


class Counted(JointDensity):
    """A density that counts for how many steps each datapoint's gradient was asked for."""

    def __init__(self, plain, rows):
        self.plain, self.steps = plain, torch.zeros(rows)

    def __call__(self, values, rows=None):
        return self.plain(values, rows)

    def gradient(self, values, rows=None):
        self.steps += 1 if rows is None else rows
        return self.plain.gradient(values, rows)


@pytest.mark.slow
def test_only_datapoints_that_still_rise_go_on():
    case = LinearGaussian.random(1, orthogonal=True, perturbation=0)  # its guide is exact
    pair, x = case.pair(), case.draw(8, seed=2)
    structure = structure_of(pair, (x,))
    start = guide_family(pair, (x,), structure)
    sites = start.latents.sites

    def own(values):
        return log_joint(pair, (x,), structure, sites, values, vectorized=True)

    far = [torch.zeros_like(offset) for offset in start.offsets()]
    far[0][:3] += 12 * start.rescaled().units[0][:3]
    density = Counted(PlainDensity(own), 8)
    torch.manual_seed(0)
    *_, best = maximize_elbo(start.moved(far), density, steps=400, particles=8, learning_rate=0.1)
    assert density.steps[3:].max() == 200  # two stages, and the last one
    assert density.steps[:3].min() >= 250
    assert torch.allclose(best.raw[0], start.raw[0], atol=0.02)
