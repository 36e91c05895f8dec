"""TraceGraph_ELBO with discrete latents, masks and baselines, compiled."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, TraceGraph_ELBO
from torch import nn

import ppvae
from ppvae.engine.compilation import replay
from ppvae.inference import Compiled, JointOptim, training
from tests.engine.compilation.pairs import bits, reals

ROWS = 20


class Switched(nn.Module):
    """A latent that is there or not, as a discrete one says."""

    def __init__(self, masked=False, baseline=None):
        super().__init__()
        self.masked, self.baseline = masked, baseline
        self.encoder, self.decoder = nn.Linear(6, 4), nn.Linear(2, 6)
        self.on, self.network = nn.Linear(6, 1), nn.Sequential(nn.Linear(6, 1), nn.Flatten(0))

    def mask(self, k):
        return k if self.masked else torch.tensor(1.0)

    def model(self, x):
        pyro.module("pair", self)
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Bernoulli(torch.full((len(x), 1), 0.5)).to_event(1))
            prior = dist.Normal(x.new_zeros(len(x), 2), 1.0)
            z = pyro.sample("z", prior.mask(self.mask(k)).to_event(1))
            pyro.sample("x", dist.Normal(k * self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        pyro.module("pair", self)
        with pyro.plate("data", len(x)):
            options = {
                None: {},
                "value": {"baseline_value": self.network(x)},
                "network": {"nn_baseline": self.network, "nn_baseline_input": x},
                "average": {"use_decaying_avg_baseline": True},
            }[self.baseline]
            on = dist.Bernoulli(self.on(x).sigmoid()).to_event(1)
            k = pyro.sample("k", on, infer={"baseline": options} if options else {})
            loc, raw = self.encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, raw.exp()).mask(self.mask(k)).to_event(1))


def losses(objective, pair, steps=6):
    torch.manual_seed(1)
    optim = JointOptim(torch.optim.Adam)
    svi = SVI(pair.model, pair.guide, optim, objective)
    return [svi.step(reals(ROWS)) for _ in range(steps)]


CASES = [
    pytest.param(masked, baseline, marks=[] if masked and baseline else [pytest.mark.slow])
    for masked in (False, True)
    for baseline in (None, "value", "network")
]


def built(*options):
    torch.manual_seed(0)
    return Switched(*options)


@pytest.mark.parametrize(("masked", "baseline"), CASES)
def test_losses_of_the_graph_are_those_of_pyro(masked, baseline):
    reached = []
    for wrap in (lambda elbo: elbo, lambda elbo: Compiled(elbo, generator=replay)):
        with pyro.get_param_store().scope():
            pair, objective = built(masked, baseline), wrap(TraceGraph_ELBO())
            reached.append((losses(objective, pair), [*pair.parameters()]))
    assert [call.runs_compiled for call in objective._calls.values()] == [True]
    (expected, weights), (found, others) = reached
    assert found == pytest.approx(expected, rel=1e-6)
    for one, other in zip(weights, others, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("masked", "baseline"), [(False, None), pytest.param(True, "value", marks=pytest.mark.slow)]
)
def test_steps_of_the_graph_are_those_of_pyro(masked, baseline, monkeypatch):
    monkeypatch.setattr(training, "generate", replay)
    reached, x = [], reals(60)
    for compile_from in (None, 2):
        with pyro.get_param_store().scope():
            pair = built(masked, baseline)
            fit = ppvae.fit(
                pair,
                x,
                steps=6,
                batch_size=ROWS,
                objective=TraceGraph_ELBO(),
                compile_from=compile_from,
            )
            assert fit.compiled_from == compile_from, fit.compilation
            reached.append([*pair.parameters()])
    for one, other in zip(*reached, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_decaying_average_is_refused_in_one_line():
    message = "writes '__baseline_avg_downstream_cost_k' to Pyro's parameter store at every step"
    reached = []
    for wrap in (lambda elbo: elbo, lambda elbo: Compiled(elbo, generator=replay)):
        with pyro.get_param_store().scope():
            pair, objective = built(False, "average"), wrap(TraceGraph_ELBO())
            if isinstance(objective, Compiled):
                with pytest.warns(RuntimeWarning, match=message) as told:
                    reached.append(losses(objective, pair))
                assert len(told) == 1
            else:
                reached.append(losses(objective, pair))
    assert reached[0] == reached[1]


def test_data_outside_the_support_are_found_beside_a_discrete_latent():
    class Bits(Switched):
        def model(self, x):
            pyro.module("pair", self)
            with pyro.plate("data", len(x)):
                k = pyro.sample("k", dist.Bernoulli(torch.full((len(x), 1), 0.5)).to_event(1))
                z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1))
                logits = k * self.decoder(z)
                pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    pair, objective = Bits(), Compiled(TraceGraph_ELBO(), generator=replay)
    for _ in range(3):
        objective.loss_and_grads(pair.model, pair.guide, bits(ROWS))
    x = bits(ROWS)
    x[3] = 0.5
    with pytest.raises(ValueError, match="to be within the support"):
        objective.loss_and_grads(pair.model, pair.guide, x)


class Tagged(torch.Tensor):
    """A tensor of a class of its own, which a graph does not follow."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        plain = [a.held if isinstance(a, Tagged) else a for a in args]
        return tagged(function(*plain, **(kwargs or {})))


def tagged(value):
    if not isinstance(value, torch.Tensor) or isinstance(value, Tagged):
        return value
    held = value.as_subclass(Tagged)
    held.held = value
    return held


def test_tensors_of_an_unknown_class_are_refused_rather_than_taken_as_constants():
    class Odd(TraceGraph_ELBO):
        def loss_and_grads(self, model, guide, *batch):
            super().loss_and_grads(model, guide, *batch)
            return tagged(batch[0]).sum()

    pair, objective = Switched(), Compiled(Odd(), generator=replay)
    with pytest.warns(RuntimeWarning, match="tensors of a class of its own"):
        for _ in range(3):
            x = reals(ROWS)
            loss = objective.loss_and_grads(pair.model, pair.guide, x)
    assert float(loss) == pytest.approx(float(x.sum()))
