"""Pairs and objectives that must run as graphs: parts of the library, and plain Pyro."""

import functools

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from pyro.infer import (
    RenyiELBO,
    ReweightedWakeSleep,
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
    config_enumerate,
)
from torch import nn

import ppvae
from ppvae import likelihoods, networks, posteriors, priors
from ppvae.inference import (
    CombinedImportanceWeighted_ELBO,
    FreeBits_ELBO,
    ImportanceWeighted_ELBO,
    MaximumMeanDiscrepancy_ELBO,
    PartiallyImportanceWeighted_ELBO,
    StickingTheLanding_ELBO,
    StickingTheLandingEnum_ELBO,
    TotalCorrelation_ELBO,
    VariationalRenyi_ELBO,
)

FEATURES, LATENT = 6, 3


def bits(rows):
    return (torch.rand(rows, FEATURES) < 0.4).float()


def reals(rows):
    return torch.randn(rows, FEATURES)


def vae(likelihood, outputs=1, network=networks.MLP):
    return ppvae.VAE(
        priors.StandardNormal(LATENT),
        likelihood(network(LATENT, outputs * FEATURES)),
        posteriors.DiagonalNormal(network(FEATURES, 2 * LATENT)),
    )


def of_factors(prior, posterior):
    return ppvae.VAE(
        prior(LATENT),
        likelihoods.Bernoulli(networks.MLP(LATENT, FEATURES)),
        posterior(networks.MLP(FEATURES, posterior(nn.Identity()).outputs_for(LATENT))),
    )


class Plain(nn.Module):
    """Networks of a pair in plain Pyro that announces nothing."""

    def __init__(self, encoded=2 * LATENT):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(FEATURES, 8), nn.Tanh(), nn.Linear(8, encoded))
        self.decoder = nn.Sequential(nn.Linear(LATENT, 8), nn.Tanh(), nn.Linear(8, FEATURES))

    def announce(self):
        pyro.module("encoder", self.encoder)
        pyro.module("decoder", self.decoder)

    def posterior(self, x):
        loc, raw = self.encoder(x).chunk(2, -1)
        return dist.Normal(loc, raw.exp()).to_event(1)

    def prior(self, x):
        return dist.Normal(x.new_zeros(LATENT), 1.0).to_event(1)

    def model(self, x):
        self.announce()
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior(x))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x):
        self.announce()
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.posterior(x))


class Subsampled(Plain):
    def model(self, x):
        self.announce()
        with pyro.plate("data", 1000, subsample_size=len(x)):
            z = pyro.sample("z", self.prior(x))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x):
        self.announce()
        with pyro.plate("data", 1000, subsample_size=len(x)):
            pyro.sample("z", self.posterior(x))


class Stored(Plain):
    """Constrained parameters in Pyro's store."""

    def model(self, x):
        self.announce()
        scale = pyro.param("noise", torch.full((FEATURES,), 0.7), constraint=constraints.positive)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior(x))
            pyro.sample("x", dist.Normal(self.decoder(z), scale).to_event(1), obs=x)


class Tempered(Plain):
    def __init__(self):
        super().__init__()
        self.register_buffer("beta", torch.tensor(0.5))

    def model(self, x):
        with pyro.poutine.scale(scale=self.beta):
            super().model(x)

    def guide(self, x):
        with pyro.poutine.scale(scale=self.beta):
            super().guide(x)


class Normalized(Plain):
    """Batch normalization and dropout: buffers that a step writes to, and a mode."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(FEATURES, 8, bias=False),
            nn.BatchNorm1d(8),
            nn.Dropout(0.3),
            nn.Linear(8, 2 * LATENT),
        )


class Correlated(Plain):
    """A full-rank normal against a standard one."""

    def __init__(self):
        super().__init__(LATENT + LATENT * LATENT)

    def posterior(self, x):
        loc, raw = self.encoder(x).split([LATENT, LATENT * LATENT], -1)
        raw = raw.reshape(-1, LATENT, LATENT)
        factor = raw.tril(-1) + torch.diag_embed(raw.diagonal(dim1=-2, dim2=-1).exp())
        return dist.MultivariateNormal(loc, scale_tril=factor)

    def prior(self, x):
        return dist.MultivariateNormal(x.new_zeros(LATENT), torch.eye(LATENT))


class Autoregressive(Plain):
    def __init__(self):
        super().__init__()
        self.flow = dist.transforms.affine_autoregressive(LATENT)

    def announce(self):
        super().announce()
        pyro.module("flow", self.flow)

    def posterior(self, x):
        self.flow.clear_cache()
        return dist.TransformedDistribution(super().posterior(x), [self.flow])


class OtherLatent(Plain):
    """A latent of another family, positive or on the simplex."""

    family = "LogNormal"

    def posterior(self, x):
        first, second = (part.exp() for part in self.encoder(x).chunk(2, -1))
        return {
            "LogNormal": lambda: dist.LogNormal(first.log(), second).to_event(1),
            "Gamma": lambda: dist.Gamma(first, second).to_event(1),
            "Beta": lambda: dist.Beta(first, second).to_event(1),
            "Laplace": lambda: dist.Laplace(first, second).to_event(1),
            "StudentT": lambda: dist.StudentT(first + 2, first, second).to_event(1),
            "Dirichlet": lambda: dist.Dirichlet(first + second),
        }[self.family]()

    def prior(self, x):
        one = x.new_ones(LATENT)
        return {
            "LogNormal": lambda: dist.LogNormal(0 * one, 1.0).to_event(1),
            "Gamma": lambda: dist.Gamma(one, one).to_event(1),
            "Beta": lambda: dist.Beta(one, one).to_event(1),
            "Laplace": lambda: dist.Laplace(0 * one, 1.0).to_event(1),
            "StudentT": lambda: dist.StudentT(3 * one, 0 * one, 1.0).to_event(1),
            "Dirichlet": lambda: dist.Dirichlet(one),
        }[self.family]()


def of_family(name):
    pair = OtherLatent()
    pair.family = name
    return pair


class Scored(Plain):
    """A discrete latent without reparameterization: gradients by the score function."""

    def __init__(self):
        super().__init__(LATENT)

    def posterior(self, x):
        return dist.OneHotCategorical(logits=self.encoder(x))

    def prior(self, x):
        return dist.OneHotCategorical(logits=x.new_zeros(LATENT))


class Summed(Plain):
    """A label that the objective sums out, in the guide, beside a drawn latent (M2)."""

    def __init__(self):
        super().__init__()
        self.classifier = nn.Linear(FEATURES, 4)
        self.label = nn.Linear(4, LATENT)

    def announce(self):
        super().announce()
        pyro.module("classifier", self.classifier)
        pyro.module("label", self.label)

    def model(self, x):
        self.announce()
        with pyro.plate("data", len(x)):
            y = pyro.sample("y", dist.OneHotCategorical(logits=x.new_zeros(4)))
            z = pyro.sample("z", self.prior(x))
            logits = self.decoder(z + self.label(y))
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    @config_enumerate
    def guide(self, x):
        self.announce()
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.OneHotCategorical(logits=self.classifier(x)))
            pyro.sample("z", self.posterior(x))


class SummedInModel(Plain):
    """A mixture component that only the model knows."""

    def __init__(self):
        super().__init__()
        self.locs = nn.Parameter(torch.randn(4, LATENT))

    @config_enumerate
    def model(self, x):
        self.announce()
        pyro.module("pair", self)
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(logits=x.new_zeros(4)))
            z = pyro.sample("z", dist.Normal(self.locs[k], 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)


class Hierarchical(Plain):
    """Three latent layers, drawn bottom-up."""

    def __init__(self):
        super().__init__()
        self.up = nn.ModuleList(nn.Linear(LATENT, 2 * LATENT) for _ in range(2))
        self.down = nn.ModuleList(nn.Linear(LATENT, LATENT) for _ in range(2))

    def announce(self):
        pyro.module("pair", self)

    def model(self, x):
        self.announce()
        with pyro.plate("data", len(x)):
            z = pyro.sample("z3", self.prior(x))
            for name, layer in zip(("z2", "z1"), self.down, strict=True):
                z = pyro.sample(name, dist.Normal(layer(z), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x):
        self.announce()
        with pyro.plate("data", len(x)):
            z = pyro.sample("z1", self.posterior(x))
            for name, layer in zip(("z2", "z3"), self.up, strict=True):
                loc, raw = layer(z).chunk(2, -1)
                z = pyro.sample(name, dist.Normal(loc, raw.exp()).to_event(1))


class Recurrent(Plain):
    def __init__(self):
        super().__init__()
        self.encoder = nn.GRU(1, 2 * LATENT, batch_first=True)

    def posterior(self, x):
        loc, raw = self.encoder(x.unsqueeze(-1))[1][0].chunk(2, -1)
        return dist.Normal(loc, raw.exp()).to_event(1)


class Convolutional(Plain):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Unflatten(1, (1, FEATURES)),
            nn.Conv1d(1, 4, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(4 * (FEATURES - 2), 2 * LATENT),
        )


ELBO = Trace_ELBO


def vamp():
    """A prior that shares the guide's parameters."""
    encoder = posteriors.DiagonalNormal(networks.MLP(FEATURES, 2 * LATENT))
    pseudo = priors.PseudoInputs.from_data(torch.rand(4, FEATURES))
    decoder = likelihoods.Bernoulli(networks.MLP(LATENT, FEATURES))
    return ppvae.VAE(priors.VampPrior(encoder, pseudo), decoder, encoder)


WEIGHTED = {
    "importance weighted": (Plain, lambda: ImportanceWeighted_ELBO(5), bits),
    "importance weighted, of a part": (Subsampled, lambda: ImportanceWeighted_ELBO(5), bits),
    "importance weighted, tempered": (Tempered, lambda: ImportanceWeighted_ELBO(5), bits),
    "importance weighted, by the score": (Scored, lambda: ImportanceWeighted_ELBO(5), bits),
    "importance weighted, summed": (SummedInModel, lambda: ImportanceWeighted_ELBO(5), bits),
    "importance weighted, one by one": (
        Normalized,
        lambda: ImportanceWeighted_ELBO(3, vectorize_particles=False),
        bits,
    ),
    "doubly reparameterized": (
        Hierarchical,
        lambda: ImportanceWeighted_ELBO(5, doubly_reparameterized=True),
        bits,
    ),
    "combined": (Plain, lambda: CombinedImportanceWeighted_ELBO(5, elbo_weight=0.5), bits),
    "partially": (
        Plain,
        lambda: PartiallyImportanceWeighted_ELBO(3, repeats=2),
        bits,
    ),
    "Renyi, of each datapoint": (
        Plain,
        lambda: VariationalRenyi_ELBO(0.5, 5, doubly_reparameterized=True),
        bits,
    ),
    "sticking the landing": (vamp, StickingTheLanding_ELBO, bits),
    "sticking the landing, layers": (Hierarchical, lambda: StickingTheLanding_ELBO(3), bits),
}
GRAPHS = {
    **WEIGHTED,
    "Bernoulli": (lambda: vae(likelihoods.Bernoulli), ELBO, bits),
    "residual networks": (
        lambda: vae(likelihoods.Bernoulli, network=networks.ResidualMLP),
        ELBO,
        bits,
    ),
    "Binomial": (
        lambda: vae(functools.partial(likelihoods.Binomial, total_count=3)),
        ELBO,
        bits,
    ),
    "ContinuousBernoulli": (lambda: vae(likelihoods.ContinuousBernoulli), ELBO, bits),
    "GrayBernoulli": (lambda: vae(likelihoods.GrayBernoulli), ELBO, bits),
    "Normal": (lambda: vae(likelihoods.Normal, 2), ELBO, reals),
    "Normal, learned scale": (
        lambda: vae(functools.partial(likelihoods.Normal, scale=likelihoods.LearnedScale())),
        ELBO,
        reals,
    ),
    "Normal, fixed scale": (
        lambda: vae(functools.partial(likelihoods.Normal, scale=0.5)),
        ELBO,
        reals,
    ),
    "closed-form KL": (lambda: vae(likelihoods.Bernoulli), TraceMeanField_ELBO, bits),
    "particles in a loop": (
        lambda: vae(likelihoods.Bernoulli),
        functools.partial(ELBO, num_particles=3),
        bits,
    ),
    "particles at once": (
        lambda: vae(likelihoods.Bernoulli),
        functools.partial(ELBO, num_particles=3, vectorize_particles=True),
        bits,
    ),
    "Renyi": (
        lambda: vae(likelihoods.Bernoulli),
        functools.partial(RenyiELBO, alpha=0.0, num_particles=5, vectorize_particles=True),
        bits,
    ),
    "wake-sleep": (
        lambda: vae(likelihoods.Bernoulli),
        functools.partial(ReweightedWakeSleep, num_particles=3, model_has_params=True),
        bits,
    ),
    "free bits": (lambda: vae(likelihoods.Bernoulli), functools.partial(FreeBits_ELBO, 0.5), bits),
    "free bits of dimensions": (
        lambda: vae(likelihoods.Bernoulli),
        functools.partial(FreeBits_ELBO, 0.1, per_dimension=True),
        bits,
    ),
    "total correlation": (
        lambda: vae(likelihoods.Bernoulli),
        functools.partial(TotalCorrelation_ELBO, 1000, 6.0),
        bits,
    ),
    "maximum mean discrepancy": (
        lambda: vae(likelihoods.Bernoulli),
        functools.partial(MaximumMeanDiscrepancy_ELBO, 10.0),
        bits,
    ),
    "sphere": (
        lambda: of_factors(priors.UniformSphere, posteriors.PowerSpherical),
        ELBO,
        bits,
    ),
    "sphere, closed-form KL": (
        lambda: of_factors(priors.UniformSphere, posteriors.PowerSpherical),
        TraceMeanField_ELBO,
        bits,
    ),
    "mixture": (
        lambda: of_factors(priors.StandardNormal, posteriors.NormalMixture),
        ELBO,
        bits,
    ),
    "plain Pyro": (Plain, ELBO, bits),
    "subsampled": (Subsampled, ELBO, bits),
    "Pyro's store": (Stored, ELBO, reals),
    "tempered": (Tempered, ELBO, bits),
    "tempered, closed-form KL": (Tempered, TraceMeanField_ELBO, bits),
    "normalized": (Normalized, ELBO, bits),
    "full rank": (Correlated, ELBO, bits),
    "full rank, closed-form KL": (Correlated, TraceMeanField_ELBO, bits),
    "autoregressive flow": (Autoregressive, ELBO, bits),
    **{
        family: (functools.partial(of_family, family), ELBO, bits)
        for family in ("LogNormal", "Gamma", "Beta", "Laplace", "StudentT", "Dirichlet")
    },
    "score function": (Scored, ELBO, bits),
    "score function, graph": (Scored, TraceGraph_ELBO, bits),
    "summed out in the guide": (Summed, TraceEnum_ELBO, bits),
    "summed out in the guide, sticking the landing": (Summed, StickingTheLandingEnum_ELBO, bits),
    "summed out in the model": (SummedInModel, TraceEnum_ELBO, bits),
    "hierarchical": (Hierarchical, ELBO, bits),
    "recurrent": (Recurrent, ELBO, bits),
    "convolutional": (Convolutional, ELBO, bits),
}
"""By name: what builds the pair, what builds the objective, what draws data."""
