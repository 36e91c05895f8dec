"""Autoencoders with invariant coordinates: pyroVED's iVAE, jiVAE and ssiVAE."""

import math

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from pyro.infer import TraceEnum_ELBO, config_enumerate
from torch import nn
from torch.distributions import Bernoulli

from tests.strangers.stranger import (
    SUMMED,
    Programs,
    Stranger,
    bits,
    exact,
    grid,
    labels_of,
    one_hot,
)

SHAPE, PIXELS, CLASSES = (2, 3), 6, 2


def coordinates():
    """Return the places of the pixels, (pixels, 2)."""
    axes = [torch.linspace(-1, 1, size) for size in SHAPE]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)


def rotated(places, phi):
    """Rotate the places of each image by its angle; one batch dimension."""
    rotation = torch.stack([phi.cos(), phi.sin(), -phi.sin(), phi.cos()], 1)
    return torch.bmm(places, rotation.view(-1, 2, 2))


class SpatialDecoder(nn.Module):
    """Pixels one by one, from their place and the rest of the latents."""

    def __init__(self, inputs):
        super().__init__()
        self.of_place, self.of_latent = nn.Linear(2, 4), nn.Linear(inputs, 4, bias=False)
        self.output = nn.Linear(4, 1)

    def forward(self, places, z):
        batch, pixels, _ = places.size()
        hidden = self.of_place(places.reshape(batch * pixels, -1)).reshape(batch, pixels, -1)
        hidden = torch.tanh(hidden + self.of_latent(z).unsqueeze(1))
        return torch.sigmoid(self.output(hidden)).view(batch, -1)


class IVAE(nn.Module):
    """One latent rotates the image, one is its content."""

    def __init__(self):
        super().__init__()
        self.encoder_z = nn.Linear(PIXELS, 4)
        self.decoder = SpatialDecoder(1)
        self.grid = coordinates()

    def encoded(self, x):
        loc, log_scale = self.encoder_z(x.view(-1, PIXELS)).chunk(2, -1)
        return loc, (0.3 * log_scale).exp()

    def model(self, x, **kwargs):
        pyro.module("decoder", self.decoder)
        beta = kwargs.get("scale_factor", 1.0)
        with pyro.plate("data", x.shape[0]):
            z_loc = x.new_zeros(torch.Size((x.shape[0], 2)))
            z_scale = x.new_ones(torch.Size((x.shape[0], 2)))
            with poutine.scale(scale=beta):
                z = pyro.sample("latent", dist.Normal(z_loc, z_scale).to_event(1))
            phi, content = z[:, 0], z[:, 1:]
            places = rotated(self.grid.expand(x.shape[0], *self.grid.shape), phi)
            loc = self.decoder(places, content)
            pyro.sample(
                "obs",
                dist.Bernoulli(loc.view(-1, PIXELS), validate_args=False).to_event(1),
                obs=x.view(-1, PIXELS),
            )

    def guide(self, x, **kwargs):
        pyro.module("encoder", self.encoder_z)
        beta = kwargs.get("scale_factor", 1.0)
        with pyro.plate("data", x.shape[0]):
            loc, scale = self.encoded(x)
            with poutine.scale(scale=beta):
                pyro.sample("latent", dist.Normal(loc, scale).to_event(1))


def images_on(pair, x, label=None):
    """Return log p(x, z) at a grid of z, (nodes, rows)."""
    nodes, weights = grid(2, points=61)
    places = rotated(pair.grid.expand(len(nodes), *pair.grid.shape), nodes[:, 0])
    rest = nodes[:, 1:]
    if label is not None:
        rest = torch.cat([rest, label.expand(len(nodes), -1)], -1)
    probs = pair.decoder(places, rest)[:, None]
    return weights[:, None] + Bernoulli(probs).log_prob(x.reshape(-1, PIXELS)).sum(-1)


def of_rotated(pair, batch, given=None):
    return exact(images_on(pair, batch[0]))


class JIVAE(IVAE):
    """A class too, drawn in the guide and enumerated there; the model counts on every class."""

    def __init__(self):
        super().__init__()
        self.encoder_c = nn.Linear(PIXELS, CLASSES)
        self.decoder = SpatialDecoder(1 + CLASSES)

    def model(self, x, **kwargs):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", x.shape[0]):
            z_loc = x.new_zeros(torch.Size((x.shape[0], 2)))
            z_scale = x.new_ones(torch.Size((x.shape[0], 2)))
            z = pyro.sample("latent_cont", dist.Normal(z_loc, z_scale).to_event(1))
            alpha = x.new_ones(torch.Size((x.shape[0], CLASSES))) / CLASSES
            z_disc = pyro.sample("latent_disc", dist.OneHotCategorical(alpha))
            repeated = self.grid.expand(x.shape[0] * CLASSES, *self.grid.shape)
            z = z.repeat(CLASSES, 1)
            places = rotated(repeated, z[:, 0])
            rest = torch.cat([z[:, 1:], z_disc.reshape(-1, CLASSES)], dim=-1)
            loc = self.decoder(places, rest)
            loc = loc.view(*z_disc.shape[:-1], PIXELS)
            pyro.sample(
                "obs",
                dist.Bernoulli(loc, validate_args=False).to_event(1),
                obs=x.view(-1, PIXELS),
            )

    def guide(self, x, **kwargs):
        pyro.module("encoder", self.encoder_z)
        pyro.module("encoder_c", self.encoder_c)
        with pyro.plate("data", x.shape[0]):
            loc, scale = self.encoded(x)
            pyro.sample("latent_cont", dist.Normal(loc, scale).to_event(1))
            alpha = self.encoder_c(x.view(-1, PIXELS)).softmax(-1)
            pyro.sample("latent_disc", dist.OneHotCategorical(alpha))


class SSIVAE(IVAE):
    """Classes that are given or None; a plate without a size."""

    def __init__(self):
        super().__init__()
        self.encoder_y = nn.Linear(PIXELS, CLASSES)
        self.encoder_xy = nn.Linear(PIXELS + CLASSES, 4)
        self.decoder = SpatialDecoder(1 + CLASSES)

    def model(self, xs, ys=None, **kwargs):
        pyro.module("ss_vae", self)
        batch_dim = xs.size(0)
        with pyro.plate("data"):
            prior_loc = torch.zeros(batch_dim, 2, dtype=xs.dtype)
            prior_scale = torch.ones(batch_dim, 2, dtype=xs.dtype)
            zs = pyro.sample("z", dist.Normal(prior_loc, prior_scale).to_event(1))
            alpha_prior = torch.ones(batch_dim, CLASSES) / (1.0 * CLASSES)
            ys = pyro.sample("y", dist.OneHotCategorical(alpha_prior), obs=ys)
            zs = zs.reshape(-1, 2)  # already a copy a class where the guide looks at the class
            zs = zs.repeat(ys.numel() // CLASSES // len(zs), 1)
            places = rotated(self.grid.expand(len(zs), *self.grid.shape), zs[:, 0])
            rest = torch.cat([zs[:, 1:], ys.reshape(-1, CLASSES)], dim=-1)
            loc = self.decoder(places, rest).view(*ys.shape[:-1], PIXELS)
            pyro.sample(
                "x",
                dist.Bernoulli(loc, validate_args=False).to_event(1),
                obs=xs.view(-1, PIXELS),
            )

    def guide(self, xs, ys=None, **kwargs):
        with pyro.plate("data"):
            flat = xs.view(-1, PIXELS)
            if ys is None:
                ys = pyro.sample("y", dist.OneHotCategorical(self.encoder_y(flat).softmax(-1)))
            joined = torch.cat([flat.expand(*ys.shape[:-1], PIXELS), ys], -1)
            loc, log_scale = self.encoder_xy(joined).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, (0.3 * log_scale).exp()).to_event(1))


def enumerated(net):
    pair = Programs(net.model, config_enumerate(net.guide, "parallel", expand=True))
    pair.net = net
    return pair


def of_classes(pair, batch, given=None):
    net = getattr(pair, "net", pair)
    x, *rest = batch
    y = rest[0] if rest else None
    both = torch.stack([images_on(net, x, label) for label in labels_of(CLASSES)], -1)
    both = both - math.log(CLASSES)
    if y is not None:
        both = torch.where(y.bool(), both, -torch.inf)
    return exact(both.logsumexp(-1))


def enumerating():
    return TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False)


STRANGERS = (
    Stranger(
        "ivae",
        IVAE,
        lambda: [(bits(10, *SHAPE, seed=seed),) for seed in range(2)],
        log_evidence=of_rotated,
    ),
    Stranger(
        "jivae",
        lambda: enumerated(JIVAE()),
        lambda: [(bits(10, *SHAPE, seed=seed),) for seed in range(2)],
        objective=enumerating,
        log_evidence=of_classes,
        expected={"from_pyro_svi": ("does not run on single values of 'latent_disc'",)},
    ),
    Stranger(
        "ssivae",
        lambda: enumerated(SSIVAE()),
        lambda: [(bits(10, *SHAPE), None), (bits(10, *SHAPE, seed=1), one_hot(10, CLASSES))],
        objective=enumerating,
        log_evidence=of_classes,
        expected={"diagnose": (SUMMED,)},
    ),
    Stranger(
        "ssivae_labelled",
        SSIVAE,
        lambda: [(bits(10, *SHAPE, seed=seed), one_hot(10, CLASSES, seed)) for seed in range(2)],
        log_evidence=of_classes,
    ),
)
