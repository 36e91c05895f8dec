"""Counts of genes in cells: Pyro's scanvi, and Decipher."""

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from pyro.infer import TraceEnum_ELBO, config_enumerate
from torch import nn
from torch.distributions import Normal, constraints

from tests.strangers.stranger import (
    BELOW,
    CHANGING,
    SUMMED,
    Programs,
    Stranger,
    counts,
    exact,
    grid,
    labels_of,
    line,
    one_hot,
)

GENES, LABELS, CELLS = 4, 2, 10


def network(inputs, outputs):
    """Return a linear layer, batch normalization, and another layer, on two dimensions."""
    return nn.Sequential(nn.Linear(inputs, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, outputs))


def in_two_dimensions(net, *parts):
    """Apply a network to rows, whatever dimensions its input has."""
    shape = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
    joined = torch.cat([part.expand(*shape, part.shape[-1]) for part in parts], -1)
    output = net(joined.reshape(-1, joined.shape[-1]))
    return output.reshape(*joined.shape[:-1], output.shape[-1])


def loc_and_scale(output):
    loc, scale = output.chunk(2, -1)
    return loc, nn.functional.softplus(scale) + 0.3


class SCANVI(nn.Module):
    """Labels given or None, a classification loss as a factor of the guide, a scale around all."""

    scale_factor = 1.0 / (CELLS * GENES)
    alpha = 0.5
    l_loc, l_scale = 2.0, 0.3
    epsilon = 5e-3

    def __init__(self):
        super().__init__()
        self.z2_decoder = network(1 + LABELS, 2)
        self.x_decoder = network(1, 2 * GENES)
        self.z2l_encoder = network(GENES, 4)
        self.classifier = network(1, LABELS)
        self.z1_encoder = network(1 + LABELS, 2)

    def decoded(self, z2):
        gate_logits, mu = in_two_dimensions(self.x_decoder, z2).chunk(2, -1)
        return gate_logits - 2, mu.softmax(-1)

    def counts(self, z2, size, theta):
        gate_logits, mu = self.decoded(z2)
        logits = (size * mu + self.epsilon).log() - (theta + self.epsilon).log()
        return dist.ZeroInflatedNegativeBinomial(
            gate_logits=gate_logits, total_count=theta, logits=logits, validate_args=False
        )

    def model(self, x, y=None):
        pyro.module("scanvi", self)
        theta = pyro.param(
            "inverse_dispersion", 10.0 * x.new_ones(GENES), constraint=constraints.positive
        )
        with pyro.plate("batch", len(x)), poutine.scale(scale=self.scale_factor):
            z1 = pyro.sample("z1", dist.Normal(0, x.new_ones(1)).to_event(1))
            y = pyro.sample("y", dist.OneHotCategorical(logits=x.new_zeros(LABELS)), obs=y)
            loc, scale = loc_and_scale(in_two_dimensions(self.z2_decoder, z1, y))
            z2 = pyro.sample("z2", dist.Normal(loc, scale).to_event(1))
            l_scale = self.l_scale * x.new_ones(1)
            size = pyro.sample("l", dist.LogNormal(self.l_loc, l_scale).to_event(1))
            pyro.sample("x", self.counts(z2, size, theta).to_event(1), obs=x)

    def guide(self, x, y=None):
        pyro.module("scanvi", self)
        with pyro.plate("batch", len(x)), poutine.scale(scale=self.scale_factor):
            z2_out, l_out = self.z2l_encoder(torch.log(1 + x)).chunk(2, -1)
            l_loc, l_scale = loc_and_scale(l_out)
            pyro.sample("l", dist.LogNormal(2 + 0.3 * l_loc, l_scale).to_event(1))
            z2 = pyro.sample("z2", dist.Normal(*loc_and_scale(z2_out)).to_event(1))
            y_dist = dist.OneHotCategorical(logits=in_two_dimensions(self.classifier, z2))
            if y is None:
                y = pyro.sample("y", y_dist)
            else:
                pyro.factor(
                    "classification_loss", -self.alpha * y_dist.log_prob(y), has_rsample=False
                )
            z1 = loc_and_scale(in_two_dimensions(self.z1_encoder, z2, y))
            pyro.sample("z1", dist.Normal(*z1).to_event(1))


def scanvi():
    net = SCANVI()
    pair = Programs(net.model, config_enumerate(net.guide, "parallel", expand=True))
    pair.net = net
    return pair


def of_cells(pair, batch, given=None):
    """Sum over labels and grids of z1, z2 and the log of the library size."""
    x, y = batch
    net = pair.net
    theta = pyro.param("inverse_dispersion")
    z1, weights = grid(1)
    z2, step = line(-9.0, 9.0, 150)
    by_label = []
    for label in labels_of(LABELS):
        loc, scale = loc_and_scale(in_two_dimensions(net.z2_decoder, z1, label))
        moves = Normal(loc, scale).log_prob(z2) + weights[:, None]
        by_label.append(moves.logsumexp(0) - torch.tensor(LABELS).log())
    prior = torch.stack(by_label)  # (labels, z2)
    size, size_weights = grid(1, points=61)
    size = (net.l_loc + net.l_scale * size).exp()
    seen = net.counts(z2[:, None, None, None], size[:, None, :], theta).log_prob(x).sum(-1)
    seen = (seen + size_weights[:, None]).logsumexp(1)  # (z2, rows)
    joint = (prior[..., None] + seen + step).logsumexp(1)  # (labels, rows)
    if y is not None:
        return exact(torch.where(y.T.bool(), joint, -torch.inf))
    return exact(joint)


class Decipher(nn.Module):
    """A parameter of Pyro's store kept as an attribute, and a weight beta of the upper latent."""

    beta = 0.5

    def __init__(self):
        super().__init__()
        self.theta = None
        self.epsilon = 1e-5
        self.v_to_z = network(1, 2)
        self.z_to_x = network(1, GENES)
        self.x_to_z = network(GENES, 2)
        self.zx_to_v = network(1 + GENES, 2)

    def counts(self, z, library_size):
        mu = in_two_dimensions(self.z_to_x, z).softmax(-1)
        logits = torch.log(library_size * mu + self.epsilon) - torch.log(self.theta + self.epsilon)
        return dist.NegativeBinomial(
            total_count=self.theta + self.epsilon, logits=logits, validate_args=False
        )

    def model(self, x):
        pyro.module("decipher", self)
        self.theta = pyro.param(
            "inverse_dispersion_of_decipher",
            x.new_ones(GENES),
            constraint=constraints.positive,
        )
        with pyro.plate("batch", len(x)), poutine.scale(scale=1.0):
            with poutine.scale(scale=self.beta):
                v = pyro.sample("v", dist.Normal(0, x.new_ones(1)).to_event(1))
            loc, scale = loc_and_scale(in_two_dimensions(self.v_to_z, v))
            z = pyro.sample("z", dist.Normal(loc, scale).to_event(1))
            library_size = x.sum(axis=-1, keepdim=True)
            pyro.sample("x", self.counts(z, library_size).to_event(1), obs=x)

    def guide(self, x):
        pyro.module("decipher", self)
        with pyro.plate("batch", len(x)), poutine.scale(scale=1.0):
            x = torch.log1p(x)
            z = pyro.sample("z", dist.Normal(*loc_and_scale(self.x_to_z(x))).to_event(1))
            v_loc, v_scale = loc_and_scale(self.zx_to_v(torch.cat([z, x], dim=-1)))
            with poutine.scale(scale=self.beta):
                pyro.sample("v", dist.Normal(v_loc, v_scale).to_event(1))


def deciphered(pair, batch, given=None):
    x = batch[0]
    v, weights = grid(1)
    loc, scale = loc_and_scale(in_two_dimensions(pair.v_to_z, v))
    z, step = line(-9.0, 9.0, 300)
    prior = (Normal(loc, scale).log_prob(z) + weights[:, None]).logsumexp(0) + step
    seen = pair.counts(z[:, None, None], x.sum(-1, keepdim=True)).log_prob(x).sum(-1)
    return exact(prior[:, None] + seen)


STRANGERS = (
    Stranger(
        "scanvi",
        scanvi,
        lambda: [
            (counts(CELLS, GENES), None),
            (counts(CELLS, GENES, seed=1), one_hot(CELLS, LABELS)),
        ],
        objective=lambda: TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False),
        log_evidence=of_cells,
        rows=lambda batch: len(batch[0]) * SCANVI.scale_factor,
        expected={"diagnose": (SUMMED, BELOW)},
    ),
    Stranger(
        "scanvi_labelled",
        scanvi,
        lambda: [(counts(CELLS, GENES), one_hot(CELLS, LABELS))],
        same_bound=False,
        objective=lambda: TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False),
        log_evidence=of_cells,
        rows=lambda batch: len(batch[0]) * SCANVI.scale_factor,
        expected={"diagnose": (CHANGING,)},
    ),
    Stranger(
        "decipher",
        Decipher,
        lambda: [(counts(CELLS, GENES, seed=seed),) for seed in range(2)],
        log_evidence=deciphered,
        expected={"diagnose": (CHANGING,)},
    ),
)
