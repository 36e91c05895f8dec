"""The models in plain Pyro, and as loss functions by hand; the same networks in both."""

import math

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import RenyiELBO, Trace_ELBO, TraceEnum_ELBO, config_enumerate
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus


def _mlp(inputs, hidden, outputs):
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def _kl(loc, scale):
    return 0.5 * (scale.square() + loc.square() - 1).sum(-1) - scale.log().sum(-1)


def _score(logits, x):
    return -binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)


class VAE(nn.Module):
    """z ~ N(0, I), binary pixels, one hidden layer on both sides."""

    objective = Trace_ELBO

    def __init__(self, case):
        super().__init__()
        self.case = case
        self.encoder = _mlp(case.features, case.hidden, 2 * case.latent)
        self.decoder = _mlp(case.latent, case.hidden, case.features)

    def encode(self, x):
        loc, raw = self.encoder(x).chunk(2, -1)
        return loc, softplus(raw)

    def model(self, x):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(self.case.latent), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x):
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(*self.encode(x)).to_event(1))

    def loss(self, x):
        loc, scale = self.encode(x)
        logits = self.decoder(loc + scale * torch.randn_like(scale))
        cross_entropy = binary_cross_entropy_with_logits(logits, x, reduction="sum")
        return cross_entropy + _kl(loc, scale).sum()


class Convolutional(VAE):
    """Two convolutions of stride 2, and their transposes."""

    def __init__(self, case):
        super().__init__(case)
        self.encoder = nn.Sequential(
            nn.Unflatten(-1, (1, 28, 28)),
            *(nn.Conv2d(1, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(64 * 49, 2 * case.latent)),
        )
        self.decoder = nn.Sequential(
            *(nn.Linear(case.latent, 64 * 49), nn.ReLU(), nn.Unflatten(-1, (64, 7, 7))),
            *(nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU()),
            *(nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Flatten()),
        )


class Renyi(VAE):
    """The VAE under the importance weighted bound."""

    def objective(self):
        particles = self.case.particles
        return RenyiELBO(alpha=0.0, num_particles=particles, vectorize_particles=True)

    def loss(self, x):
        loc, scale = self.encode(x)
        noise = torch.randn(self.case.particles, *scale.shape)
        z = loc + scale * noise
        log_prior = -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)
        log_guide = -(0.5 * noise.square() + scale.log() + 0.5 * math.log(2 * math.pi)).sum(-1)
        logits = self.decoder(z)
        weights = log_prior + _score(logits, x.expand_as(logits)) - log_guide
        return -(weights.logsumexp(0) - math.log(self.case.particles)).sum()


class Hierarchical(nn.Module):
    """Three latent layers, the guide bottom-up."""

    objective = Trace_ELBO

    def __init__(self, case):
        super().__init__()
        self.case = case
        self.encoder = _mlp(case.features, case.hidden, 2 * case.latent)
        self.decoder = _mlp(case.latent, case.hidden, case.features)
        inner = (case.latent, case.hidden, 2 * case.latent)
        self.up = nn.ModuleList(_mlp(*inner) for _ in range(2))
        self.down = nn.ModuleList(_mlp(*inner) for _ in range(2))

    @staticmethod
    def normal(output):
        loc, raw = output.chunk(2, -1)
        return loc, softplus(raw) + 1e-3

    def model(self, x):
        pyro.module("down", self.down)
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z3", dist.Normal(x.new_zeros(self.case.latent), 1.0).to_event(1))
            for name, layer in zip(("z2", "z1"), self.down, strict=True):
                z = pyro.sample(name, dist.Normal(*self.normal(layer(z))).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x):
        pyro.module("up", self.up)
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z1", dist.Normal(*self.normal(self.encoder(x))).to_event(1))
            for name, layer in zip(("z2", "z3"), self.up, strict=True):
                z = pyro.sample(name, dist.Normal(*self.normal(layer(z))).to_event(1))

    def loss(self, x):
        layers = [self.encoder, *self.up]
        drawn, log_guide, value = [], 0.0, x
        for layer in layers:
            loc, scale = self.normal(layer(value))
            noise = torch.randn_like(scale)
            value = loc + scale * noise
            log_guide = log_guide - (0.5 * noise.square() + scale.log()).sum()
            drawn.append(value)
        log_model = -0.5 * drawn[2].square().sum()
        for above, layer, below in zip(drawn[:0:-1], self.down, drawn[1::-1], strict=True):
            loc, scale = self.normal(layer(above))
            log_model = log_model - (0.5 * ((below - loc) / scale).square() + scale.log()).sum()
        logits = self.decoder(drawn[0])
        cross_entropy = binary_cross_entropy_with_logits(logits, x, reduction="sum")
        return cross_entropy + log_guide - log_model


class Enumerated(nn.Module):
    """A class that is summed out, and a latent given image and class (M2, without labels)."""

    CLASSES = 10

    def __init__(self, case):
        super().__init__()
        self.case = case
        self.classifier = _mlp(case.features, case.hidden, self.CLASSES)
        self.encoder = _mlp(case.features + self.CLASSES, case.hidden, 2 * case.latent)
        self.decoder = _mlp(case.latent + self.CLASSES, case.hidden, case.features)

    @staticmethod
    def objective():
        return TraceEnum_ELBO(max_plate_nesting=1)

    def joined(self, value, y):
        shape = torch.broadcast_shapes(value.shape[:-1], y.shape[:-1])
        parts = [value.expand(*shape, value.shape[-1]), y.expand(*shape, y.shape[-1])]
        return torch.cat(parts, -1)

    def encode(self, x, y):
        loc, raw = self.encoder(self.joined(x, y)).chunk(2, -1)
        return loc, softplus(raw)

    def model(self, x):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", len(x)):
            y = pyro.sample("y", dist.OneHotCategorical(logits=x.new_zeros(self.CLASSES)))
            z = pyro.sample("z", dist.Normal(x.new_zeros(self.case.latent), 1.0).to_event(1))
            logits = self.decoder(self.joined(z, y))
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    @config_enumerate
    def guide(self, x):
        pyro.module("classifier", self.classifier)
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", len(x)):
            y = pyro.sample("y", dist.OneHotCategorical(logits=self.classifier(x)))
            pyro.sample("z", dist.Normal(*self.encode(x, y)).to_event(1))

    def loss(self, x):
        y = torch.eye(self.CLASSES).unsqueeze(1)
        log_q = self.classifier(x).log_softmax(-1).T
        loc, scale = self.encode(x, y)
        logits = self.decoder(self.joined(loc + scale * torch.randn_like(scale), y))
        terms = _score(logits, x.expand_as(logits)) - _kl(loc, scale)
        return -(log_q.exp() * (terms - math.log(self.CLASSES) - log_q)).sum()


PROGRAMS = {
    "vae": VAE,
    "convolutional": Convolutional,
    "renyi": Renyi,
    "hierarchical": Hierarchical,
    "enumerated": Enumerated,
}
