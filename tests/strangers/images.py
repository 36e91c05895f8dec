"""Autoencoders of images: Pyro's vae, ss_vae_M2 and cvae, and the flows of its tutorial."""

import pyro
import pyro.distributions as dist
import pyro.distributions.transforms as transforms
import pyro.poutine as poutine
import torch
from pyro.infer import TraceEnum_ELBO, config_enumerate
from torch import nn
from torch.distributions import Bernoulli, Normal

from tests.strangers.stranger import (
    CHANGING,
    NO_INVERSE,
    NO_LATENT,
    SUMMED,
    Programs,
    Stranger,
    bits,
    exact,
    grid,
    labels_of,
    one_hot,
    reals,
)

PIXELS, LATENTS, LABELS = 6, 2, 3


class Decoder(nn.Module):
    def __init__(self, inputs=LATENTS):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(inputs, 5), nn.Linear(5, PIXELS)

    def forward(self, z):
        return torch.sigmoid(self.fc2(nn.functional.softplus(self.fc1(z))))


class Encoder(nn.Module):
    def __init__(self, inputs=PIXELS):
        super().__init__()
        self.inputs = inputs
        self.fc1 = nn.Linear(inputs, 5)
        self.loc, self.log_scale = nn.Linear(5, LATENTS), nn.Linear(5, LATENTS)

    def forward(self, x):
        hidden = nn.functional.softplus(self.fc1(x.reshape(-1, self.inputs)))
        return self.loc(hidden), torch.exp(0.3 * self.log_scale(hidden))


class VAE(nn.Module):
    """Images of two by three pixels; encoder and decoder are announced on their own."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder()

    def model(self, x):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", x.shape[0]):
            z_loc = torch.zeros(x.shape[0], LATENTS, dtype=x.dtype)
            z_scale = torch.ones(x.shape[0], LATENTS, dtype=x.dtype)
            z = pyro.sample("latent", dist.Normal(z_loc, z_scale).to_event(1))
            loc_img = self.decoder.forward(z)
            pyro.sample(
                "obs",
                dist.Bernoulli(loc_img, validate_args=False).to_event(1),
                obs=x.reshape(-1, PIXELS),
            )
            return loc_img

    def guide(self, x):
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", x.shape[0]):
            z_loc, z_scale = self.encoder.forward(x)
            pyro.sample("latent", dist.Normal(z_loc, z_scale).to_event(1))


def of_images(pair, batch, given=None):
    nodes, weights = grid(LATENTS)
    x = batch[0].reshape(-1, PIXELS)
    likelihood = Bernoulli(pair.decoder(nodes)[:, None]).log_prob(x).sum(-1)
    return exact(weights[:, None] + likelihood)


class Perceptron(nn.Module):
    """Networks that take a list of parts, which may need broadcasting."""

    def __init__(self, inputs, *outputs):
        super().__init__()
        self.hidden = nn.Linear(inputs, 5)
        self.heads = nn.ModuleList(nn.Linear(5, size) for size in outputs)

    def forward(self, parts):
        if isinstance(parts, list | tuple):
            shape = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
            parts = torch.cat([part.expand(*shape, part.shape[-1]) for part in parts], -1)
        hidden = nn.functional.softplus(self.hidden(parts))
        outputs = [head(hidden) for head in self.heads]
        return outputs[0] if len(outputs) == 1 else outputs


class SemiSupervised(nn.Module):
    """Labels that are given or None; a plate without a size; a second pair that classifies."""

    def __init__(self):
        super().__init__()
        self.encoder_y = Perceptron(PIXELS, LABELS)
        self.encoder_z = Perceptron(PIXELS + LABELS, LATENTS, LATENTS)
        self.decoder = Perceptron(LATENTS + LABELS, PIXELS)

    def model(self, xs, ys=None):
        pyro.module("ss_vae", self)
        batch_size = xs.size(0)
        options = {"dtype": xs.dtype, "device": xs.device}
        with pyro.plate("data"):
            prior_loc = torch.zeros(batch_size, LATENTS, **options)
            prior_scale = torch.ones(batch_size, LATENTS, **options)
            zs = pyro.sample("z", dist.Normal(prior_loc, prior_scale).to_event(1))
            alpha_prior = torch.ones(batch_size, LABELS, **options) / (1.0 * LABELS)
            ys = pyro.sample("y", dist.OneHotCategorical(alpha_prior), obs=ys)
            loc = torch.sigmoid(self.decoder([zs, ys]))
            pyro.sample("x", dist.Bernoulli(loc, validate_args=False).to_event(1), obs=xs)

    def guide(self, xs, ys=None):
        with pyro.plate("data"):
            if ys is None:
                alpha = self.encoder_y(xs).softmax(-1)
                ys = pyro.sample("y", dist.OneHotCategorical(alpha))
            loc, log_scale = self.encoder_z([xs, ys])
            pyro.sample("z", dist.Normal(loc, (0.3 * log_scale).exp()).to_event(1))

    def model_classify(self, xs, ys=None):
        pyro.module("ss_vae", self)
        with pyro.plate("data"):
            if ys is not None:
                alpha = self.encoder_y(xs).softmax(-1)
                with poutine.scale(scale=5.0):
                    pyro.sample("y_aux", dist.OneHotCategorical(alpha), obs=ys)

    def guide_classify(self, xs, ys=None):
        pass


def enumerated(net):
    pair = Programs(net.model, config_enumerate(net.guide, "parallel", expand=True))
    pair.net = net
    return pair


def classifying(net):
    return Programs(net.model_classify, net.guide_classify)


def semi_supervised(pair, batch, given=None):
    x, y = batch
    net = getattr(pair, "net", pair)
    nodes, weights = grid(LATENTS)
    terms = []
    for label in labels_of(LABELS):
        probs = torch.sigmoid(net.decoder([nodes, label.expand(len(nodes), -1)]))
        likelihood = Bernoulli(probs[:, None]).log_prob(x).sum(-1) - torch.tensor(LABELS).log()
        terms.append(weights[:, None] + likelihood)
    both = torch.stack(terms, -1)  # (nodes, rows, labels)
    if y is not None:
        return exact(torch.where(y.bool(), both, -torch.inf).flatten(2).logsumexp(-1))
    return exact(both.logsumexp(-1))


class CVAE(nn.Module):
    """Completes images: pixels of -1 are unknown, and a network's first guess is a condition."""

    def __init__(self):
        super().__init__()
        self.baseline_net = nn.Sequential(nn.Linear(PIXELS, PIXELS), nn.Sigmoid())
        self.prior_net = Perceptron(2 * PIXELS, LATENTS, LATENTS)
        self.recognition_net = Perceptron(2 * PIXELS, LATENTS, LATENTS)
        self.generation_net = Decoder()

    def guessed(self, xs):
        with torch.no_grad():
            flat = xs.view(-1, PIXELS)
            y_hat = self.baseline_net(flat)
        return flat, y_hat

    def model(self, xs, ys=None):
        pyro.module("generation_net", self)
        batch_size = xs.shape[0]
        with pyro.plate("data"):
            flat, y_hat = self.guessed(xs)
            prior_loc, log_scale = self.prior_net([flat, y_hat])
            zs = pyro.sample("z", dist.Normal(prior_loc, (0.3 * log_scale).exp()).to_event(1))
            loc = self.generation_net(zs)
            if ys is not None:
                unknown = (xs == -1).view(-1, PIXELS)
                mask_loc = loc[unknown].view(batch_size, -1)
                mask_ys = ys.view(-1, PIXELS)[unknown].view(batch_size, -1)
                pyro.sample(
                    "y", dist.Bernoulli(mask_loc, validate_args=False).to_event(1), obs=mask_ys
                )
            else:
                pyro.deterministic("y", loc.detach())
            return loc

    def guide(self, xs, ys=None):
        with pyro.plate("data"):
            flat, y_hat = self.guessed(xs)
            if ys is None:
                loc, log_scale = self.prior_net([flat, y_hat])
            else:
                loc, log_scale = self.recognition_net([flat, ys.view(-1, PIXELS)])
            pyro.sample("z", dist.Normal(loc, (0.3 * log_scale).exp()).to_event(1))


def halves(rows, seed):
    images = bits(rows, 2, 3, seed=seed)
    known = images.clone()
    known[: rows // 2, 0] = -1
    known[rows // 2 :, 1] = -1
    return known, images


def completed(pair, batch, given=None):
    known, images = batch
    flat, guess = pair.guessed(known)
    loc, log_scale = pair.prior_net([flat, guess])
    nodes, weights = grid(LATENTS)
    z = loc + (0.3 * log_scale).exp() * nodes[:, None]
    pixels = Bernoulli(pair.generation_net(z)).log_prob(images.view(-1, PIXELS))
    return exact(weights[:, None] + (pixels * (flat == -1)).sum(-1))


class Flow(nn.Module):
    """A guide whose normals go through one of Pyro's own flows."""

    def __init__(self, flow):
        super().__init__()
        self.flow = flow
        self.encoder = nn.Linear(4, 2 * LATENTS)
        self.decoder = nn.Linear(LATENTS, 4)

    def model(self, x):
        pyro.module("pair", self)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(LATENTS), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            loc, log_scale = self.encoder(x).chunk(2, -1)
            base = dist.Normal(loc, (0.3 * log_scale).exp()).to_event(1)
            pyro.sample("z", dist.TransformedDistribution(base, [self.flow]))


def of_reals(pair, batch, given=None):
    nodes, weights = grid(LATENTS, points=121, end=8.0)
    likelihood = Normal(pair.decoder(nodes)[:, None], 1.0).log_prob(batch[0]).sum(-1)
    return exact(weights[:, None] + likelihood)


def flows(name, make, **expected):
    return Stranger(
        f"flow_{name}",
        lambda: Flow(make(LATENTS)),
        lambda: [(reals(12, 4, seed=seed),) for seed in range(2)],
        log_evidence=of_reals,
        expected={column: (said,) for column, said in expected.items()},
    )


def unlabelled(count=2):
    return [(bits(12, PIXELS, seed=seed), None) for seed in range(count)]


def labelled(count=2):
    return [(bits(12, PIXELS, seed=seed), one_hot(12, LABELS, seed)) for seed in range(count)]


STRANGERS = (
    Stranger(
        "vae",
        VAE,
        lambda: [(bits(12, 2, 3, seed=seed),) for seed in range(2)],
        log_evidence=of_images,
    ),
    Stranger(
        "ss_vae_m2_enumerated",
        lambda: enumerated(SemiSupervised()),
        lambda: [*unlabelled(1), *labelled(1)],
        objective=lambda: TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False),
        log_evidence=semi_supervised,
        expected={"diagnose": (SUMMED,)},
    ),
    Stranger(
        "ss_vae_m2_sampled",
        SemiSupervised,
        unlabelled,
        log_evidence=semi_supervised,
        expected={"diagnose": (CHANGING,)},
    ),
    Stranger("ss_vae_m2_labelled", SemiSupervised, labelled, log_evidence=semi_supervised),
    Stranger(
        "ss_vae_m2_classify",
        lambda: classifying(SemiSupervised()),
        labelled,
        rows=lambda batch: 5.0 * len(batch[0]),  # the scale around all its sites,
        expected=dict.fromkeys(
            ("evidence", "pareto_k", "diagnose", "active_units", "to_arviz"), (NO_LATENT,)
        ),
    ),
    Stranger(
        "cvae",
        CVAE,
        lambda: [halves(12, seed) for seed in range(2)],
        log_evidence=completed,
        expected={"compiled": ("depends on values",)},
    ),
    flows("planar", transforms.planar, diagnose=NO_INVERSE),
    flows(
        "spline", lambda size: transforms.spline(size, count_bins=4), compiled="depends on values"
    ),
    flows(
        "neural_autoregressive",
        lambda size: transforms.neural_autoregressive(size, [4]),
        diagnose=NO_INVERSE,
    ),
    flows("affine_autoregressive", lambda size: transforms.affine_autoregressive(size, [4])),
)
