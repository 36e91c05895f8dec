"""What the tests of all objectives share: small pairs in plain Pyro, and one call of a loss."""

import contextlib
import functools

import pyro
import pyro.distributions as dist
import torch
from torch import nn

import ppvae
import ppvae.inference.training as training
from ppvae.engine.compilation import replay
from ppvae.engine.execution import execute
from ppvae.engine.parameters import Collector, announce
from ppvae.inference import Compiled, LinearWarmup

LATENT = 3


class Linear(nn.Module):
    """z ~ N(0, I), x | z ~ N(W z, I), q(z|x) = N(A x, diag(scale)^2)."""

    def __init__(self, size=None, scale=None, features=4, scales=(0.3, 0.6, 0.9)):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        double = {"generator": generator, "dtype": torch.float64}
        self.size, self.scale = size, scale
        self.loadings = nn.Parameter(torch.randn(LATENT, features, **double))
        self.slope = nn.Parameter(torch.randn(features, LATENT, **double) / 2)
        self.log_scale = nn.Parameter(torch.tensor(scales, dtype=torch.float64).log())

    @contextlib.contextmanager
    def rows(self, x):
        announce(self)
        with contextlib.ExitStack() as inside:
            inside.enter_context(pyro.plate("data", self.size or len(x), subsample_size=len(x)))
            if self.scale is not None:
                inside.enter_context(pyro.poutine.scale(scale=self.scale))
            yield

    def posterior(self, x):
        return dist.Normal(x @ self.slope, self.log_scale.exp()).to_event(1)

    def prior(self, x):
        return dist.Normal(x.new_zeros(LATENT), 1.0).to_event(1)

    def model(self, x):
        with self.rows(x):
            z = pyro.sample("z", self.prior(x))
            loc = z @ self.loadings[: z.shape[-1]]
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)
            self.more_of_the_model(x)

    def guide(self, x):
        with self.rows(x):
            pyro.sample("z", self.posterior(x))
            self.more_of_the_guide(x)

    def more_of_the_model(self, x):
        pass

    def more_of_the_guide(self, x):
        pass


class Discrete(Linear):
    """A latent that cannot be reparameterized."""

    def posterior(self, x):
        return dist.OneHotCategorical(logits=x @ self.slope)

    def prior(self, x):
        return dist.OneHotCategorical(logits=x.new_zeros(LATENT))


class Correlated(Linear):
    """A guide whose dimensions depend on each other."""

    def posterior(self, x):
        return dist.MultivariateNormal(x @ self.slope, torch.eye(LATENT).double())


class TwoLatents(Linear):
    """A second latent of the same kind."""

    def more_of_the_model(self, x):
        pyro.sample("other", self.prior(x))

    def more_of_the_guide(self, x):
        pyro.sample("other", self.prior(x))


class OtherPlate(Linear):
    """A plate over datapoints of another name."""

    @contextlib.contextmanager
    def rows(self, x):
        announce(self)
        with pyro.plate("batch", len(x)):
            yield


class BottomUp(Linear):
    """Two latents that the guide draws in the other order than the model."""

    def model(self, x):
        with self.rows(x):
            top = pyro.sample("top", self.prior(x))
            z = pyro.sample("z", dist.Normal(top, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ self.loadings, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with self.rows(x):
            z = pyro.sample("z", self.posterior(x))
            pyro.sample("top", dist.Normal(z / 2, self.log_scale.exp()).to_event(1))


class GlobalLatent(Linear):
    """The one latent is shared by all datapoints."""

    def model(self, x):
        announce(self)
        z = pyro.sample("z", self.prior(x))
        with self.rows(x):
            pyro.sample("x", dist.Normal(z @ self.loadings, 1.0).to_event(1), obs=x)

    def guide(self, x):
        announce(self)
        pyro.sample("z", self.posterior(x.mean(0)))


class Missing(Linear):
    """The guide lacks a latent of the model."""

    def more_of_the_model(self, x):
        pyro.sample("lacking", dist.Normal(x.new_zeros(()), 1.0))


class Auxiliary(Linear):
    """The guide draws something beside the model's latents."""

    def more_of_the_guide(self, x):
        pyro.sample("beside", dist.Normal(x[:, 0], 1.0), infer={"is_auxiliary": True})


class Masked(Linear):
    """The latent of some rows does not count."""

    @contextlib.contextmanager
    def rows(self, x):
        with super().rows(x), pyro.poutine.mask(mask=x[:, 0] > 0):
            yield


def rows(count=12, features=4, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, features, generator=generator, dtype=torch.float64)


def call(objective, pair, x, seed=0):
    """Return loss and gradients of one call, by parameter."""
    torch.manual_seed(seed)
    with Collector() as collector:
        loss = objective.loss_and_grads(pair.model, pair.guide, x)
    gradients = {}
    for name, parameter in collector.unique().items():
        if parameter.grad is not None:
            gradients[name] = parameter.grad
        parameter.grad = None
    return loss, gradients


def evaluated(objective, pair, x, seed=0):
    torch.manual_seed(seed)
    return objective.loss(pair.model, pair.guide, x)


def drawn(pair, x, seed=0):
    """Return the draw of z that a call under this seed takes, and log p(x|z) of each row."""
    torch.manual_seed(seed)
    guide, model = execute(pair, (x,))
    return guide["z"]["value"].detach(), model["x"]["fn"].log_prob(x).detach()


def replayed_and_eager(objective, pair, draw=rows):
    """Return what a graph says of fresh data, and what the objective says."""
    compiled = Compiled(objective, generator=replay)
    programs = Held(pair)
    for seed in range(2):
        call(compiled, programs, draw(seed=seed), seed)
    x = draw(seed=7)
    first, second = call(compiled, programs, x, 7), call(objective, programs, x, 7)
    assert [call.runs_compiled for call in compiled._calls.values()] == [True]
    return first, second


class Held:
    """Programs that stay the same objects, by which `Compiled` knows them."""

    def __init__(self, pair):
        self.model, self.guide = pair.model, pair.guide


def assert_same(first, second, rtol=1e-12):
    """Compare two calls' losses and gradients in double precision."""
    torch.testing.assert_close(first, second, rtol=rtol, atol=rtol)


def assert_trains(monkeypatch, objective, build=Linear):
    """Train for some steps as Pyro's and as whole graphs, to the same parameters."""
    monkeypatch.setattr(training, "generate", replay)
    x, reached = rows(64), []
    for compile in (False, True):
        pair = build()
        fit = ppvae.fit(
            pair,
            x,
            steps=20,
            batch_size=16,
            objective=objective,
            kl_weight=LinearWarmup(10, start=0.2),
            validation=x,
            optimizer=functools.partial(torch.optim.Adam, lr=0.05),
            compile=compile,
        )
        assert (fit.steps, fit.reason, fit.compiled_from) == (
            20,
            "finished",
            2 if compile else None,
        )
        assert float(fit.history.train_loss[-1]) < float(fit.history.train_loss[0])
        assert float(fit.history.validation_loss[-1]) < float(fit.history.validation_loss[0])
        reached.append([parameter.detach() for parameter in pair.parameters()])
    assert_same(*reached, rtol=1e-9)
