"""Objectives as graphs say what the objectives themselves say, and know what they cannot."""

import math
import random
import warnings
from types import SimpleNamespace

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO

from ppvae import likelihoods
from ppvae.engine.compilation import relative_error, replay
from ppvae.engine.parameters import Collector
from ppvae.inference import Compiled, JointOptim
from tests.engine.compilation.pairs import GRAPHS, Normalized, Plain, Tempered, bits, vae

ROWS = 20


def run(objective, pair, x, seed=0):
    """Return loss and gradients by name, of one call under a seed."""
    torch.manual_seed(seed)
    with Collector() as collector:
        loss = objective.loss_and_grads(pair.model, pair.guide, x)
    parameters = collector.unique()
    gradients = {name: p.grad for name, p in parameters.items() if p.grad is not None}
    for parameter in parameters.values():
        parameter.grad = None
    return loss, gradients


def warm(objective, pair, draw):
    """Call an objective as often as its graph needs to be taken, on data of its own."""
    for seed in range(2):
        run(objective, pair, draw(ROWS), seed)


# Pairs whose graphs differ from others' by a density or a network alone, as in the contracts.
FACTORS = {
    "Bernoulli",
    "residual networks",
    "Binomial",
    "ContinuousBernoulli",
    "GrayBernoulli",
    "Normal",
    "Normal, learned scale",
    "Normal, fixed scale",
    "sphere",
    "sphere, closed-form KL",
    "mixture",
    "tempered, closed-form KL",
    "full rank",
    "full rank, closed-form KL",
    "autoregressive flow",
    "LogNormal",
    "Gamma",
    "Beta",
    "Laplace",
    "StudentT",
    "Dirichlet",
    "recurrent",
    "convolutional",
}
# Pairs whose graphs take a second to capture.
COSTLY = {
    "sticking the landing, layers",
    "particles in a loop",
    "summed out in the guide",
    "doubly reparameterized",
    "hierarchical",
    "importance weighted, one by one",
    "maximum mean discrepancy",
    "score function, graph",
}
# Of another objective, while the graph is captured alike.
ALIKE = {
    "importance weighted",
    "importance weighted, tempered",
    "importance weighted, by the score",
    "combined",
    "partially",
    "Renyi, of each datapoint",
    "sticking the landing",
    "particles at once",
    "wake-sleep",
    "free bits",
    "free bits of dimensions",
    "total correlation",
    "plain Pyro",
    "tempered",
}

# Between them, these have every operation of torch that any of the graphs has.
COVERING = {
    "mixture",
    "full rank, closed-form KL",
    "sphere",
    "recurrent",
    "Gamma",
    "summed out in the model",
    "importance weighted, one by one",
    "score function, graph",
    "maximum mean discrepancy",
    "residual networks",
    "Beta",
    "Laplace",
    "convolutional",
    "importance weighted, of a part",
    "sticking the landing",
    "free bits",
    "StudentT",
}


def operations(build, objective, draw):
    """Return the names of the operations of the objective's graph."""
    found = set()

    def noting(graph, inputs):
        found.update(str(n.target) for n in graph.module.graph.nodes if n.op == "call_function")
        return replay(graph, inputs)

    with pyro.get_param_store().scope():
        torch.manual_seed(0)
        pair, compiled = build(), Compiled(objective(), generator=noting)
        held = SimpleNamespace(model=pair.model, guide=pair.guide)
        for seed in range(2):
            run(compiled, held, draw(ROWS), seed)
    return found


@pytest.mark.verify
def test_covering_graphs_have_all_operations():
    found = {name: operations(*case) for name, case in GRAPHS.items()}
    every, some = (set().union(*(found[name] for name in names)) for names in (GRAPHS, COVERING))
    assert some == every


def graphs(mark, names):
    """Parametrize a test by all pairs; those of these names have a mark."""
    return pytest.mark.parametrize(
        ("build", "objective", "draw"),
        [
            pytest.param(*case, id=name, marks=[mark] if name in names else [])
            for name, case in GRAPHS.items()
        ],
    )


@graphs(pytest.mark.slow, FACTORS | COSTLY | ALIKE)
def test_replayed_graph_is_the_objective_exactly(build, objective, draw):
    pair, compiled = build(), Compiled(objective(), generator=replay)
    warm(compiled, pair, draw)
    x = draw(ROWS)
    buffers = [buffer.clone() for buffer in getattr(pair, "buffers", list)()]
    loss, gradients = run(compiled.elbo, pair, x, seed=7)
    after = [buffer.clone() for buffer in getattr(pair, "buffers", list)()]
    for buffer, value in zip(getattr(pair, "buffers", list)(), buffers, strict=True):
        buffer.copy_(value)
    state = torch.get_rng_state()
    graph_loss, graph_gradients = run(compiled, pair, x, seed=7)
    assert [call.runs_compiled for call in compiled._calls.values()] == [True]
    assert torch.equal(torch.get_rng_state(), state)  # it drew as many numbers
    assert graph_loss == pytest.approx(loss, rel=1e-7)
    assert gradients.keys() == graph_gradients.keys() and gradients
    if "particles" in str(objective) or "Renyi" in str(objective):
        error = relative_error(list(graph_gradients.values()), list(gradients.values()))
        assert error < 1e-6  # several backward passes add up in another order
    else:
        for name, gradient in gradients.items():
            assert torch.equal(graph_gradients[name], gradient), name
    for buffer, value in zip(getattr(pair, "buffers", list)(), after, strict=True):
        assert torch.equal(buffer, value)


# Of the covering ones, a few of different kinds; `make verify` takes the others.
GENERATED = {
    "sphere",
    "full rank, closed-form KL",
    "recurrent",
    "summed out in the model",
    "importance weighted, of a part",
    "free bits",
}


@pytest.mark.slow
@graphs(pytest.mark.verify, GRAPHS.keys() - GENERATED)
def test_generated_code_is_the_objective_to_rounding(build, objective, draw):
    pair, compiled = build(), Compiled(objective())
    warm(compiled, pair, draw)
    x = draw(ROWS)
    buffers = [buffer.clone() for buffer in getattr(pair, "buffers", list)()]
    loss, gradients = run(compiled.elbo, pair, x, seed=7)
    for buffer, value in zip(getattr(pair, "buffers", list)(), buffers, strict=True):
        buffer.copy_(value)
    graph_loss, graph_gradients = run(compiled, pair, x, seed=7)
    assert [call.runs_compiled for call in compiled._calls.values()] == [True]
    assert graph_loss == pytest.approx(loss, rel=1e-5)
    error = relative_error([graph_gradients[name] for name in gradients], list(gradients.values()))
    assert error < (1e-4 if "Renyi" in str(objective) else 1e-5)


def trained(objective, pair, steps=5, optim=None):
    torch.manual_seed(0)
    optim = optim or JointOptim(torch.optim.Adam)
    svi = SVI(pair.model, pair.guide, optim, objective)
    losses = [svi.step(bits(ROWS)) for _ in range(steps)]
    return losses, {name: value.detach().clone() for name, value in pair.state_dict().items()}


@pytest.mark.parametrize("build", [Plain, Normalized, Tempered])
def test_svi_of_a_graph_is_svi(build):
    reached = []
    for wrap in (lambda elbo: elbo, lambda elbo: Compiled(elbo, generator=replay)):
        with pyro.get_param_store().scope():
            torch.manual_seed(0)
            reached.append(trained(wrap(Trace_ELBO()), build(), steps=6))
    (losses, state), (graph_losses, graph_state) = reached
    assert graph_losses == pytest.approx(losses, rel=1e-7)
    assert all(torch.equal(state[name], graph_state[name]) for name in state)


def test_optimizers_of_pyro_see_the_parameters():
    optim, pair = pyro.optim.Adam({"lr": 0.01}), Plain()
    before = pair.encoder[0].weight.detach().clone()
    losses, _ = trained(Compiled(Trace_ELBO(), generator=replay), pair, optim=optim)
    assert len(optim.optim_objs) == 8 and losses[0] != losses[1]
    assert not torch.equal(pair.encoder[0].weight, before)


def test_evaluation_is_a_graph_too():
    pair, compiled = Plain(), Compiled(Trace_ELBO(), generator=replay)
    svi = SVI(pair.model, pair.guide, JointOptim(torch.optim.Adam), compiled)
    plain = SVI(pair.model, pair.guide, JointOptim(torch.optim.Adam), Trace_ELBO())
    x = bits(ROWS)
    for seed in range(4):
        torch.manual_seed(seed)
        loss = svi.evaluate_loss(x)
        torch.manual_seed(seed)
        assert loss == pytest.approx(plain.evaluate_loss(x), rel=1e-7)


def runs_of(compiled):
    return sum(call.runs_compiled for call in compiled._calls.values())


def test_a_tensor_may_change_and_a_number_makes_another_graph():
    pair, compiled = Tempered(), Compiled(Trace_ELBO(), generator=replay)
    warm(compiled, pair, bits)
    x = bits(ROWS)
    for beta in (0.1, 1.0, 3.0):
        pair.beta.fill_(beta)
        loss, gradients = run(compiled, pair, x, seed=3)
        expected, theirs = run(compiled.elbo, pair, x, seed=3)
        assert loss == pytest.approx(expected, rel=1e-7)
        assert all(torch.equal(gradients[name], theirs[name]) for name in theirs)
    assert runs_of(compiled) == len(compiled._calls) == 1
    pair.beta = torch.tensor(0.7)  # another tensor in its place
    warm(compiled, pair, bits)
    assert run(compiled, pair, x, seed=3)[0] == pytest.approx(run(compiled.elbo, pair, x, 3)[0])
    assert runs_of(compiled) == 2


def test_tensors_replaced_again_and_again_are_never_mistaken():
    pair, compiled = Tempered(), Compiled(Trace_ELBO(), generator=replay)
    x = bits(ROWS)
    warm(compiled, pair, bits)
    for beta in (0.2, 0.9, 1.7, 0.4):
        pair.beta = torch.tensor(beta)  # the one before is let go, and its id may come again
        warm(compiled, pair, bits)
        loss, expected = run(compiled, pair, x, 3)[0], run(compiled.elbo, pair, x, 3)[0]
        assert loss == pytest.approx(expected, rel=1e-7)


def test_training_and_evaluation_mode_are_two_graphs():
    pair, compiled = Normalized(), Compiled(Trace_ELBO(), generator=replay)
    warm(compiled, pair, bits)
    pair.eval()
    warm(compiled, pair, bits)
    x = bits(ROWS)
    assert run(compiled, pair, x, 3)[0] == pytest.approx(run(compiled.elbo, pair, x, 3)[0])
    assert runs_of(compiled) == 2
    buffers = [buffer.clone() for buffer in pair.buffers()]
    run(compiled, pair, x)
    assert all(torch.equal(b, c) for b, c in zip(pair.buffers(), buffers, strict=True))


def test_smaller_batch_has_a_graph_of_its_own():
    pair, compiled = Plain(), Compiled(Trace_ELBO(), generator=replay)
    warm(compiled, pair, bits)
    for rows in (7, 7, 7, ROWS):
        x = bits(rows)
        assert run(compiled, pair, x, 3)[0] == pytest.approx(run(compiled.elbo, pair, x, 3)[0])
    assert runs_of(compiled) == 2


@pytest.mark.slow
def test_too_many_ways_are_not_followed():
    pair, compiled = Plain(), Compiled(Trace_ELBO(), generator=replay)
    svi = SVI(pair.model, pair.guide, JointOptim(torch.optim.Adam), compiled)
    with pytest.warns(RuntimeWarning, match="called in more than 16 different ways") as told:
        for rows in [*range(1, 20), *range(1, 20)]:
            svi.step(bits(rows))
    assert len(told) == 1


def test_named_arguments_and_nested_ones():
    class Named(Plain):
        def model(self, batch, scale=1.0):
            with pyro.poutine.scale(scale=scale):
                super().model(batch["x"])

        def guide(self, batch, scale=1.0):
            with pyro.poutine.scale(scale=scale):
                super().guide(batch["x"])

    pair, compiled = Named(), Compiled(Trace_ELBO(), generator=replay)
    svi = SVI(pair.model, pair.guide, JointOptim(torch.optim.Adam), compiled)
    plain = SVI(pair.model, pair.guide, JointOptim(torch.optim.Adam), Trace_ELBO())
    for scale in (1.0, 2.0, 1.0, 2.0, 1.0, 2.0):
        batch = {"x": bits(ROWS)}
        torch.manual_seed(0)
        loss = svi.evaluate_loss(batch, scale=scale)
        torch.manual_seed(0)
        assert loss == pytest.approx(plain.evaluate_loss(batch, scale=scale), rel=1e-7)
    assert runs_of(compiled) == 2


class Angles(Plain):
    def model(self, x):
        self.announce()
        with pyro.plate("data", len(x)):
            angle = pyro.sample("angle", dist.VonMises(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(angle.unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(self, x):
        self.announce()
        with pyro.plate("data", len(x)):
            loc, raw = self.encoder(x).chunk(2, -1)
            pyro.sample("angle", dist.VonMises(loc[:, 0], raw[:, 0].exp()))


def test_rejection_sampler_is_refused_by_its_site_once():
    reached = []
    for wrap in (lambda elbo: elbo, lambda elbo: Compiled(elbo, generator=replay)):
        with pyro.get_param_store().scope(), warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            torch.manual_seed(0)
            reached.append(trained(wrap(Trace_ELBO()), Angles()))
    (message,) = [str(warning.message) for warning in told]
    assert message.startswith("Trace_ELBO runs uncompiled: site 'angle': Python reads a tensor's")
    assert reached[0][0] == reached[1][0]
    assert all(torch.equal(reached[0][1][name], reached[1][1][name]) for name in reached[0][1])


class Restless(Plain):
    """Python of its own with effects from run to run, where no module holds them."""

    def guide(self, x):
        scale = 1.0 if self.calls % 2 else 2.0
        Restless._calls += 1
        self.announce()
        with pyro.plate("data", len(x)), pyro.poutine.scale(scale=scale):
            pyro.sample("z", self.posterior(x))

    _calls = 0

    @property
    def calls(self):
        return self._calls


def test_graph_that_says_something_else_is_not_used():
    with pytest.warns(RuntimeWarning, match="compiled, the loss would be"):
        trained(Compiled(Trace_ELBO(), generator=replay), Restless())


class Stochastic(Plain):
    def guide(self, x):
        random.random()
        super().guide(x)


def test_random_numbers_of_python_are_refused_and_given_back():
    random.seed(1)
    with pytest.warns(RuntimeWarning, match="draws random numbers from Python or NumPy"):
        trained(Compiled(Trace_ELBO(), generator=replay), Stochastic(), steps=3)
    after = random.random()
    random.seed(1)
    for _ in range(3):
        random.random()
    assert random.random() == after


def test_private_generator_is_refused():
    class Private(Plain):
        generator = torch.Generator().manual_seed(0)

        def guide(self, x):
            torch.rand(3, generator=self.generator)
            super().guide(x)

    with pytest.warns(RuntimeWarning, match="draws from a generator of its own"):
        trained(Compiled(Trace_ELBO(), generator=replay), Private(), steps=3)


def test_data_outside_the_support_raise_as_they_always_did():
    pair, compiled = Plain(), Compiled(Trace_ELBO(), generator=replay)
    warm(compiled, pair, bits)
    x = bits(ROWS)
    x[3] = 0.5
    with pytest.raises(ValueError, match="to be within the support"):
        compiled.loss_and_grads(pair.model, pair.guide, x)


@pytest.mark.parametrize(
    "build", [lambda: vae(likelihoods.Bernoulli), Plain], ids=["VAE", "methods"]
)
def test_programs_that_are_asked_for_again_are_one_graph(build):
    pair, compiled, x = build(), Compiled(Trace_ELBO(), generator=replay), bits(ROWS)
    for _ in range(40):
        compiled.loss_and_grads(pair.model, pair.guide, x)
    assert len(compiled._guards) == len(compiled._calls) == runs_of(compiled) == 1


def test_pairs_without_end_are_not_kept():
    compiled, x = Compiled(Trace_ELBO(), generator=replay), bits(ROWS)
    with pytest.warns(RuntimeWarning, match="called in more than 16 different ways") as told:
        for _ in range(20):
            pair = Plain()
            assert math.isfinite(compiled.loss_and_grads(pair.model, pair.guide, x))
    assert len(told) == 1
    assert len(compiled._guards) == len(compiled._calls) == 16


def test_gradients_that_were_there_are_added_to():
    pair, compiled, x = Plain(), Compiled(Trace_ELBO(), generator=replay), bits(ROWS)
    weight = pair.encoder[0].weight
    for call in range(1, 5):  # uncompiled, compared, compiled, compiled
        for objective in (compiled, compiled.elbo):
            weight.grad = start = torch.full_like(weight, 5.0)
            torch.manual_seed(call)
            objective.loss_and_grads(pair.model, pair.guide, x)
            assert weight.grad is start
            if objective is compiled:
                ours = start.clone()
        torch.testing.assert_close(ours, start)
        for parameter in pair.parameters():
            parameter.grad = None


def test_only_objectives_are_wrapped():
    with pytest.raises(TypeError, match="needs a pyro.infer.ELBO such as .*, got int"):
        Compiled(3)


@pytest.mark.slow
def test_without_a_compiler_the_graph_runs_operation_by_operation(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch._inductor import config
    compiled = Compiled(Trace_ELBO())
    with (
        config.patch({"cpp.cxx": (None, str(tmp_path / "none"))}),
        pytest.warns(RuntimeWarning, match="no code could be generated: .*[Cc]ompiler"),
    ):
        losses, _ = trained(compiled, Plain(), steps=4)
    assert all(math.isfinite(loss) for loss in losses) and runs_of(compiled) == 1
