"""One torch optimizer behind Pyro's interface, by hand."""

import functools

import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.util import zero_grads
from pyro.optim import Adam
from torch import nn

from ppvae.inference import JointOptim
from tests.linear_gaussian import LinearGaussian

CONSTRUCTORS = {
    "Adam": torch.optim.Adam,
    "AdamW": functools.partial(torch.optim.AdamW, lr=1e-2),
    "SGD": functools.partial(torch.optim.SGD, lr=1e-3, momentum=0.9),
    "RMSprop": functools.partial(torch.optim.RMSprop, lr=1e-3),
    "function": lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
}


def svi_of(constructor, **options):
    torch.manual_seed(0)
    case = LinearGaussian.random(1)
    pair = case.pair()
    optim = JointOptim(constructor, **options)
    svi = SVI(pair.model, pair.guide, optim, Trace_ELBO())
    return pair, svi, optim, case.draw(20, seed=2)


@pytest.mark.parametrize("constructor", CONSTRUCTORS.values(), ids=CONSTRUCTORS.keys())
def test_one_optimizer_steps_every_parameter(constructor):
    pair, svi, optim, x = svi_of(constructor)
    before = [p.detach().clone() for p in pair.parameters()]
    svi.step(x)
    assert len(optim.optimizer.param_groups) == 1
    assert not any(map(torch.equal, before, pair.parameters()))
    assert all(p.grad is None for p in pair.parameters())


def test_fused_where_it_can_be_and_where_it_is_wanted():
    layer = nn.Linear(2, 1)
    parameters = dict(layer.named_parameters())
    assert JointOptim(torch.optim.Adam, parameters).optimizer.param_groups[0]["fused"]
    plain = functools.partial(torch.optim.Adam, fused=False)
    assert not JointOptim(plain, parameters).optimizer.param_groups[0]["fused"]


def test_state_continues_where_it_was():
    case = LinearGaussian.random(1)
    x = case.draw(20, seed=2)

    def start(reverse=False):
        pair = case.pair()
        named = dict(sorted(pair.named_parameters(), reverse=reverse))
        optim = JointOptim(torch.optim.Adam, named)
        return pair, optim, SVI(pair.model, pair.guide, optim, Trace_ELBO())

    pair, optim, svi = start()
    for _ in range(3):
        svi.step(x)
    again, restored, continued = start(reverse=True)
    again.load_state_dict(pair.state_dict())
    restored.set_state(optim.get_state())
    for stepping in (svi, continued):
        torch.manual_seed(1)
        for _ in range(3):
            stepping.step(x)
    assert all(torch.equal(*both) for both in zip(pair.parameters(), again.parameters(), strict=1))


def test_state_goes_by_name():
    _, svi, optim, x = svi_of(torch.optim.Adam)
    with pytest.raises(ValueError, match="goes by parameter name"):
        optim.get_state()
    svi.step(x)
    with pytest.raises(ValueError, match="goes by parameter name"):
        optim.set_state({})


def test_state_of_other_parameters_is_refused():
    layer, wider = nn.Linear(2, 1), nn.Linear(3, 1)
    optims = [
        JointOptim(torch.optim.Adam, dict(part.named_parameters())) for part in (layer, wider)
    ]
    layer(torch.ones(2)).sum().backward()
    optims[0](list(layer.parameters()))
    with pytest.raises(ValueError, match="state of 'weight' .* does not belong"):
        optims[1].set_state(optims[0].get_state())


def test_parameters_that_come_later_join():
    first, second = nn.Linear(2, 1), nn.Linear(2, 1)
    optim = JointOptim(torch.optim.Adam, dict(first.named_parameters()))
    for layer in (first, second):
        layer(torch.ones(2)).sum().backward()
    before = second.weight.detach().clone()
    optim([*first.parameters(), *second.parameters()])
    assert not torch.equal(second.weight, before)


def test_parameters_that_stay_away_are_not_moved():
    layer = nn.Linear(2, 1)
    optim = JointOptim(torch.optim.Adam, dict(layer.named_parameters()))
    layer(torch.ones(2)).sum().backward()
    optim([layer.weight, layer.bias])
    bias = layer.bias.detach().clone()
    layer(torch.ones(2)).sum().backward()
    optim([layer.weight])
    assert torch.equal(layer.bias, bias)


def test_parameters_that_a_batch_leaves_out_go_on_as_in_pyro():
    """Pyro's loop leaves a gradient of 0 behind, with which Adam goes on by its momentum."""
    reached = []
    for optim in (
        JointOptim(functools.partial(torch.optim.Adam, lr=0.1)),
        Adam({"lr": 0.1}),
    ):
        both = [nn.Parameter(torch.tensor(1.0)) for _ in range(2)]
        for loss in (lambda a, b: a + b**2, lambda a, b: a**2, lambda a, b: 3 * b):
            loss(*both).backward()
            optim(both)
            zero_grads(both)
        reached.append([parameter.item() for parameter in both])
    assert reached[0] == pytest.approx(reached[1], rel=1e-6)


def test_gradient_that_is_not_finite_moves_nothing():
    layer = nn.Linear(2, 1)
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.full_like(layer.weight, torch.nan)
    with pytest.raises(FloatingPointError, match="gradient is NaN"):
        JointOptim(torch.optim.Adam)([layer.weight])
    assert torch.equal(layer.weight, before)
