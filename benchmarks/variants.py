"""One training step, by everything that a user would pick. Each entry returns `run(steps)`."""

import warnings

import pyro
import torch
from pyro.infer import SVI, JitTrace_ELBO
from torch import nn

from benchmarks.programs import PROGRAMS

LEARNING_RATE = 1e-3


def _indices(rows, batch):
    while True:
        yield from torch.randperm(rows).split(batch)[: rows // batch]


def prepared(case):
    """Return a program, its data, and the indices of minibatches."""
    torch.manual_seed(0)
    data = case.data()
    return PROGRAMS[case.model](case), data, _indices(len(data), case.batch)


def _repeated(step):
    def run(steps):
        for _ in range(steps):
            step()

    return run


def by_hand(case, parts=None, compiled=False):
    program, data, indices = parts or prepared(case)
    optimizer = torch.optim.Adam(program.parameters(), lr=LEARNING_RATE, fused=True)
    loss_of = torch.compile(program.loss) if compiled else program.loss

    def step():
        optimizer.zero_grad()
        loss = loss_of(data.index_select(0, next(indices)))
        loss.backward()
        optimizer.step()
        return loss.item()

    return _repeated(step)


def by_hand_compiled(case, parts=None):
    return by_hand(case, parts, compiled=True)


def pyro_svi(case, parts=None):
    program, data, indices = parts or prepared(case)
    optimizer = pyro.optim.Adam({"lr": LEARNING_RATE})
    svi = SVI(program.model, program.guide, optimizer, program.objective())
    return _repeated(lambda: svi.step(data.index_select(0, next(indices))))


def pyro_jit(case, parts=None):
    program, data, indices = parts or prepared(case)
    warnings.simplefilter("ignore")
    optimizer = pyro.optim.Adam({"lr": LEARNING_RATE})
    svi = SVI(program.model, program.guide, optimizer, JitTrace_ELBO(ignore_jit_warnings=True))
    return _repeated(lambda: svi.step(data.index_select(0, next(indices))))


def ours_eager(case, parts=None, wrap=lambda objective: objective):
    from ppvae.inference import JointOptim

    program, data, indices = parts or prepared(case)
    optimizer = JointOptim(torch.optim.Adam)
    svi = SVI(program.model, program.guide, optimizer, wrap(program.objective()))
    return _repeated(lambda: svi.step(data.index_select(0, next(indices))))


def ours_drop_in(case, parts=None):
    from ppvae.inference import Compiled

    return ours_eager(case, parts, Compiled)


def whole_steps(pair, tensors, indices, batch, objective=None, compile_from=None):
    """Return the steps of `fit`, and `run(steps)`.

    Args:
        pair: what is trained.
        tensors: all rows.
        indices: yields those of a minibatch.
        batch: how many these are.
        objective: what is maximized; the pair's own unless given.
        compile_from: the step from which on there is code; when it is ready unless given.
    """
    from ppvae.engine import batch_of
    from ppvae.engine.compilation import generate
    from ppvae.inference import JointOptim
    from ppvae.inference.steps import (
        CompiledSteps,
        Minibatch,
        Steps,
        announced_programs,
        objective_for,
    )

    tensors, form = batch_of(pair, (tensors, {}))
    example = tuple(tensor[:batch] for tensor in tensors)
    run, programs, parameters, sites = announced_programs(pair, form, example, objective)
    optimizer = JointOptim(torch.optim.Adam, parameters)
    chosen = objective_for(*sites, objective)
    eager = Steps(run, programs.model, programs.guide, chosen, optimizer, 1.0)
    steps = CompiledSteps(eager, True, compile_from, parameters, None, None, generate)
    count = iter(range(10**9))

    def step():
        steps.step(next(count), Minibatch(tensors, next(indices), batch, form))

    return steps, _repeated(step)


def _ours(case, parts, compile_from=None):
    program, data, indices = parts or prepared(case)
    objective = program.objective()
    return whole_steps(program, (data,), indices, case.batch, objective, compile_from)


def ours_fit(case, parts=None):
    """Whole steps as `fit` takes them: uncompiled until there is code."""
    return _ours(case, parts)[1]


def ours_whole(case):
    steps, run = _ours(case, None, compile_from=2)
    run(4)
    assert steps.compiled_from == 2, steps.report
    return run


def matrix_products(case):
    """The forward and backward products of all layers, and nothing else."""
    program, data, indices = prepared(case)
    layers = [layer for layer in program.modules() if isinstance(layer, nn.Linear)]
    shapes = [(layer.in_features, layer.out_features) for layer in layers]
    inputs = [torch.randn(case.batch, size) for size, _ in shapes]
    weights = [torch.randn(shape) for shape in shapes]
    outputs = [torch.randn(case.batch, size) for _, size in shapes]

    def step():
        data.index_select(0, next(indices))
        for x, weight, y in zip(inputs, weights, outputs, strict=True):
            x @ weight
            x.T @ y
            if weight.shape[0] != case.features:
                y @ weight.T

    return _repeated(step)


def numpyro_svi(case, scan=False):
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import SVI, Trace_ELBO

    def mlp(name, inputs, outputs):
        init = jax.nn.initializers.glorot_uniform()
        keys = jax.random.split(jax.random.PRNGKey(sum(map(ord, name))), 2)
        hidden = case.hidden
        first = numpyro.param(f"{name}.w1", init(keys[0], (inputs, hidden)))
        second = numpyro.param(f"{name}.w2", init(keys[1], (hidden, outputs)))
        first_bias = numpyro.param(f"{name}.b1", jnp.zeros(hidden))
        second_bias = numpyro.param(f"{name}.b2", jnp.zeros(outputs))
        return lambda x: jax.nn.relu(x @ first + first_bias) @ second + second_bias

    def normal(output):
        loc, raw = jnp.split(output, 2, -1)
        return dist.Normal(loc, jax.nn.softplus(raw) + 1e-3).to_event(1)

    layers = 3 if case.model == "hierarchical" else 1
    latent = case.latent

    def model(x):
        decoder = mlp("decoder", latent, case.features)
        down = [mlp(f"down{index}", latent, 2 * latent) for index in range(layers - 1)]
        with numpyro.plate("data", len(x)):
            prior = dist.Normal(jnp.zeros(latent), 1.0).to_event(1)
            z = numpyro.sample(f"z{layers}", prior)
            for index, layer in enumerate(down):
                z = numpyro.sample(f"z{layers - 1 - index}", normal(layer(z)))
            numpyro.sample("x", dist.Bernoulli(logits=decoder(z)).to_event(1), obs=x)

    def guide(x):
        encoder = mlp("encoder", case.features, 2 * latent)
        up = [mlp(f"up{index}", latent, 2 * latent) for index in range(layers - 1)]
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z1", normal(encoder(x)))
            for index, layer in enumerate(up):
                z = numpyro.sample(f"z{index + 2}", normal(layer(z)))

    data = jnp.asarray(case.data().numpy())
    svi = SVI(model, guide, numpyro.optim.Adam(LEARNING_RATE), Trace_ELBO())
    state = [svi.init(jax.random.PRNGKey(0), data[: case.batch])]
    update = lambda state, index: svi.update(state, jnp.take(data, index, 0))  # noqa: E731
    indices = _indices(len(data), case.batch)
    draw = lambda count: jnp.stack([jnp.asarray(next(indices).numpy()) for _ in range(count)])  # noqa: E731
    step = jax.jit(update)
    many = jax.jit(lambda state, index: jax.lax.scan(update, state, index))

    def run(steps):
        if scan:
            state[0], losses = many(state[0], draw(steps))
            losses.block_until_ready()
            return
        for index in draw(steps):
            state[0], loss = step(state[0], index)
            float(loss)

    return run


def numpyro_scan(case):
    return numpyro_svi(case, scan=True)


def pythae(case):
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    program, data, indices = prepared(case)

    class Encoder(BaseEncoder):
        def __init__(self):
            BaseEncoder.__init__(self)
            self.network, self.latent_dim = program.encoder, case.latent

        def forward(self, x):
            loc, log_variance = self.network(x).chunk(2, -1)
            return ModelOutput(embedding=loc, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self):
            BaseDecoder.__init__(self)
            self.network = program.decoder

        def forward(self, z):
            return ModelOutput(reconstruction=self.network(z).sigmoid())

    shape = (case.features,)
    config = VAEConfig(input_dim=shape, latent_dim=case.latent, reconstruction_loss="bce")
    model = VAE(config, encoder=Encoder(), decoder=Decoder())
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

    def step():
        optimizer.zero_grad()
        output = model({"data": data.index_select(0, next(indices))})
        output.loss.backward()
        optimizer.step()
        return output.loss.item()

    return _repeated(step)


VARIANTS = {
    "PyTorch by hand, fused Adam": by_hand,
    "PyTorch by hand, torch.compile": by_hand_compiled,
    "Pyro SVI, pyro.optim.Adam": pyro_svi,
    "Pyro SVI, JitTrace_ELBO": pyro_jit,
    "pythae": pythae,
    "NumPyro, jitted step": numpyro_svi,
    "NumPyro, jitted scan": numpyro_scan,
    "matrix products alone": matrix_products,
    "ppvae, uncompiled (JointOptim)": ours_eager,
    "ppvae, Compiled in Pyro's SVI": ours_drop_in,
    "ppvae, whole step (fit)": ours_whole,
}

_ONLY = {
    "Pyro SVI, JitTrace_ELBO": {"vae", "hierarchical", "convolutional"},
    "pythae": {"vae"},
    "NumPyro, jitted step": {"vae", "hierarchical"},
    "NumPyro, jitted scan": {"vae", "hierarchical"},
    "matrix products alone": {"vae"},
}


def variants_of(case):
    """Return the names of the variants that a case has."""
    return [name for name in VARIANTS if case.model in _ONLY.get(name, {case.model})]
