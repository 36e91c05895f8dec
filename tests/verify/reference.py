"""Two programs to be held against, in their own words and without a line of this library.

`Tutorial`: the two-latent MNIST program of many tutorials, in plain torch. `Example`: architecture
and settings of the VAE among Pyro's own examples, in plain Pyro.
"""

import math

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import nn


class Tutorial(nn.Module):
    """784-512-2 and back, tanh, weights and biases from normals, the loss a mean over images."""

    def __init__(self, features=784, hidden=512, latent=2):
        super().__init__()

        def normal(*shape):
            return nn.Parameter(torch.randn(shape) / math.sqrt(shape[0] / 2))

        self.weights = nn.ParameterDict(
            {
                "encoder": normal(features, hidden),
                "loc": normal(hidden, latent),
                "log_variance": normal(hidden, latent),
                "decoder": normal(latent, hidden),
                "pixels": normal(hidden, features),
            }
        )
        self.biases = nn.ParameterDict(
            {name: normal(weight.shape[1]) for name, weight in self.weights.items()}
        )

    @torch.no_grad()
    def copy(self, layers):
        """Take the weights of linear layers, by name."""
        for name, layer in layers.items():
            self.weights[name].copy_(layer.weight.T)
            self.biases[name].copy_(layer.bias)
        return self

    def layer(self, name, x):
        return x @ self.weights[name] + self.biases[name]

    def terms(self, x):
        """Return cross-entropy and closed-form KL, `(data,)` each, at one draw."""
        hidden = torch.tanh(self.layer("encoder", x))
        loc, log_variance = self.layer("loc", hidden), self.layer("log_variance", hidden)
        z = loc + torch.exp(log_variance / 2) * torch.randn_like(loc)
        p = torch.sigmoid(self.layer("pixels", torch.tanh(self.layer("decoder", z))))
        cross_entropy = -(x * torch.log(1e-10 + p) + (1 - x) * torch.log(1e-10 + (1 - p))).sum(1)
        kl = -0.5 * (1 + log_variance - loc.square() - log_variance.exp()).sum(1)
        return cross_entropy, kl


def train_tutorial(program, x, steps, batch_size=64):
    optimizer = torch.optim.RMSprop(program.parameters(), lr=1e-3, alpha=0.9, eps=1e-10)
    done = 0
    while done < steps:
        for index in torch.randperm(len(x)).split(batch_size)[: steps - done]:
            cross_entropy, kl = program.terms(x[index])
            optimizer.zero_grad()
            (cross_entropy + kl).mean().backward()
            optimizer.step()
            done += 1


@torch.no_grad()
def score_tutorial(program, x, draws=10):
    """Return the negative ELBO and its two terms, in nats per datapoint."""
    cross_entropy, kl = (
        torch.stack(terms).mean().item()
        for terms in zip(*[program.terms(x) for _ in range(draws)], strict=True)
    )
    return {"negative ELBO": cross_entropy + kl, "reconstruction": cross_entropy, "KL": kl}


class Example(nn.Module):
    """z of 50 dimensions, one hidden layer of 400, softplus, the scale an exponential."""

    def __init__(self, features=784, hidden=400, latent=50):
        super().__init__()
        self.latent = latent
        self.encoder = nn.ModuleDict(
            {
                "hidden": nn.Sequential(nn.Linear(features, hidden), nn.Softplus()),
                "loc": nn.Linear(hidden, latent),
                "log_scale": nn.Linear(hidden, latent),
            }
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden), nn.Softplus(), nn.Linear(hidden, features), nn.Sigmoid()
        )

    def model(self, x):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("latent", dist.Normal(torch.zeros(self.latent), 1.0).to_event(1))
            pixels = dist.Bernoulli(self.decoder(z), validate_args=False).to_event(1)
            pyro.sample("obs", pixels, obs=x)

    def guide(self, x):
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", len(x)):
            hidden = self.encoder["hidden"](x)
            scale = self.encoder["log_scale"](hidden).exp()
            pyro.sample("latent", dist.Normal(self.encoder["loc"](hidden), scale).to_event(1))


def train_example(x, epochs, seed, batch_size=256):
    """Train as the example does. Call it, and use what it returns, under a store of its own."""
    torch.manual_seed(seed)
    example = Example(x.shape[1])
    optimizer = pyro.optim.Adam({"lr": 1e-3})
    svi = SVI(example.model, example.guide, optimizer, loss=Trace_ELBO())
    for _ in range(epochs):
        for index in torch.randperm(len(x)).split(batch_size):
            svi.step(x[index])
    return example
