"""Mixtures of Student-t distributions: densities, stratified draws, adaptation."""

import math

import pyro.distributions as dist
import torch

from ppvae.refinement.components import Components

ROWS, SIZE = 3, 2


def mixture():
    generator = torch.Generator().manual_seed(0)
    loc = torch.randn(2, ROWS, SIZE, generator=generator)
    factor = torch.randn(2, ROWS, SIZE, SIZE, generator=generator).tril(-1) + 0.5 * torch.eye(SIZE)
    shares = torch.tensor([[0.3, 0.5, 1.0], [0.7, 0.5, 0.0]])
    return Components(shares.log(), loc, factor, torch.tensor([math.inf, 5.0]))


def reference(mixed, row):
    normal = dist.MultivariateNormal(mixed.loc[0, row], scale_tril=mixed.factor[0, row])
    student = dist.MultivariateStudentT(torch.tensor(5.0), mixed.loc[1, row], mixed.factor[1, row])
    return normal, student


def test_densities_are_those_of_the_mixture():
    mixed = mixture()
    points = torch.randn(7, ROWS, SIZE, generator=torch.Generator().manual_seed(1))
    for row in range(ROWS):
        parts = [d.log_prob(points[:, row]) for d in reference(mixed, row)]
        right = (torch.stack(parts, 1) + mixed.log_shares[:, row]).logsumexp(1)
        assert torch.allclose(mixed.log_prob(points)[:, row], right, atol=1e-5)


def test_draws_are_as_many_of_each_component_as_its_share_says():
    apart = Components(
        mixture().log_shares,
        torch.tensor([-1e3, 1e3])[:, None, None].expand(2, ROWS, SIZE),
        mixture().factor,
        mixture().freedom,
    )
    drawn = apart.draw(1000)
    counts = (drawn[..., 0] < 0).sum(0)
    assert ((counts - torch.tensor([300, 500, 1000])).abs() <= 1).all()


def test_draws_have_the_density():
    # The mean of p / q over draws of q is 1, p a narrower density; its error is its own estimate.
    torch.manual_seed(0)
    mixed = mixture()
    drawn = mixed.draw(4000)
    narrow = Components(mixed.log_shares, mixed.loc, 0.7 * mixed.factor, mixed.freedom)
    ratio = (narrow.log_prob(drawn) - mixed.log_prob(drawn)).exp()
    error = ratio.std(0) / math.sqrt(len(drawn))
    assert ((ratio.mean(0) - 1).abs() < 4 * error).all()


def test_adaptation_finds_a_normal_from_a_wrong_one():
    torch.manual_seed(1)
    loc, factor = torch.tensor([1.0, -2.0]), torch.tensor([[1.5, 0.0], [-0.8, 0.4]])
    right = dist.MultivariateNormal(loc, scale_tril=factor)
    mixed = Components(
        torch.zeros(1, 1),
        torch.zeros(1, 1, 2),
        3 * torch.eye(2)[None, None],
        torch.tensor([math.inf]),
    )
    for _ in range(4):
        drawn = mixed.draw(4000)
        mixed = mixed.adapted(drawn, right.log_prob(drawn) - mixed.log_prob(drawn))
    assert torch.allclose(mixed.loc[0, 0], loc, atol=0.1)
    assert torch.allclose(mixed.factor[0, 0] @ mixed.factor[0, 0].T, factor @ factor.T, atol=0.15)


def test_a_datapoint_with_fewer_components_keeps_its_density():
    mixed = mixture()
    more = mixed.of(torch.tensor([1])).with_others(
        torch.zeros(3, 1, SIZE), torch.eye(SIZE)[None], 0.5
    )
    both = mixed.with_rows(more, torch.tensor([1]))
    points = torch.randn(5, ROWS, SIZE, generator=torch.Generator().manual_seed(2))
    same = torch.tensor([0, 2])
    assert torch.allclose(both.log_prob(points)[:, same], mixed.log_prob(points)[:, same])
    assert torch.allclose(
        both.log_prob(points)[:, 1], more.log_prob(points[:, 1:2])[:, 0], atol=1e-6
    )
    assert both.draw(50).isfinite().all()
