"""Pairs with discrete latents to sum out, and their densities by loops over all labels."""

import itertools
import math

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from pyro.infer import config_enumerate
from torch.distributions import Bernoulli, Categorical, Normal

from ppvae.engine import PLATE


class Classes(torch.nn.Module):
    """k of three classes, z | k normal, x | z, k normal; guide q(k|x) q(z|x, k), enumerated."""

    weights, locs, scale = torch.tensor([0.2, 0.5, 0.3]), torch.tensor([-2.0, 0.0, 1.5]), 0.7
    counting, expand = False, False

    def __init__(self):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.tensor(0.3))
        self.slope = torch.nn.Parameter(torch.tensor([-1.0, 0.0, 1.0]))

    def model(self, x):
        pyro.module("net", self)
        with pyro.plate(PLATE, len(x)):
            k = pyro.sample("k", dist.Categorical(self.weights.to(x)))
            z = pyro.sample("z", dist.Normal(self.locs.to(x)[k], 1.0))
            loc = z + self.shift * k
            if self.counting:  # one row for each class and datapoint
                flat = torch.stack([z.reshape(-1), k.reshape(-1).to(x)], -1)
                assert len(flat) == 3 * len(x)
                loc = (flat[:, 0] + self.shift * flat[:, 1]).reshape(k.shape)
            pyro.sample("x", dist.Normal(loc, self.scale), obs=x)

    def guide(self, x):
        with pyro.plate(PLATE, len(x)):
            infer = {"enumerate": "parallel", "expand": self.expand}
            logits = x.unsqueeze(-1) * self.slope
            k = pyro.sample("k", dist.Categorical(logits=logits), infer=infer)
            pyro.sample("z", dist.Normal((x + self.locs.to(x)[k]) / 2, 1.0))

    def densities(self, x, latents):
        """Return log p(z), log p(x, z) and log q(z|x)."""
        z, logits = latents["z"], x.unsqueeze(-1) * self.slope
        prior, joint, posterior = [], [], []
        for k in range(3):
            prior.append(self.weights[k].log() + Normal(self.locs[k], 1.0).log_prob(z))
            joint.append(prior[-1] + Normal(z + self.shift * k, self.scale).log_prob(x))
            chosen = Categorical(logits=logits).log_prob(torch.tensor(k))
            posterior.append(chosen + Normal((x + self.locs[k]) / 2, 1.0).log_prob(z))
        return [torch.stack(terms).logsumexp(0) for terms in (prior, joint, posterior)]

    def log_evidence(self, x):
        scale = math.hypot(1.0, self.scale)
        return torch.stack(
            [
                self.weights[k].log() + Normal(self.locs[k] + self.shift * k, scale).log_prob(x)
                for k in range(3)
            ]
        ).logsumexp(0)


class CountingClasses(Classes):
    """The same, with a model that needs a value for each class."""

    counting = expand = True


class Words(torch.nn.Module):
    """Three words of each datapoint, each of one of two topics; z shifts them and draws topics."""

    masked = False
    topics = torch.tensor([-1.0, 2.0])

    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(0.2))
        self.shift = torch.nn.Parameter(torch.tensor(0.5))

    def model(self, x):
        pyro.module("net", self)
        with pyro.plate(PLATE, len(x), dim=-2):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 1), 1.0))
            with pyro.plate("words", 3, dim=-1), poutine.mask(mask=self.kept(x)):
                infer = {"enumerate": "parallel"}
                k = pyro.sample("k", dist.Bernoulli(logits=z), infer=infer)
                loc = self.topics.to(x)[k.long()] + self.shift * z
                pyro.sample("x", dist.Normal(loc, 0.7), obs=x)

    def guide(self, x):
        with pyro.plate(PLATE, len(x), dim=-2):
            pyro.sample("z", dist.Normal(self.slope * x.mean(-1, keepdim=True), 1.0))

    def kept(self, x):
        return torch.arange(3) < torch.arange(len(x))[:, None] % 4 if self.masked else True

    def densities(self, x, latents):
        """Return log p(z), log p(x, z) and log q(z|x)."""
        (z,) = latents.values()
        z = z.reshape(-1, len(x))
        log_prior = Normal(0.0, 1.0).log_prob(z)
        kept = torch.as_tensor(self.kept(x)).expand(x.shape)
        sums = []
        for labels in itertools.product((0, 1), repeat=3):
            total = torch.zeros_like(z)
            for word, k in enumerate(labels):
                term = Bernoulli(logits=z).log_prob(torch.tensor(float(k)).to(x))
                loc = self.topics.to(x)[k] + self.shift * z
                term = term + Normal(loc, 0.7).log_prob(x[:, word])
                # A hidden word has each topic with probability 1/2, and no likelihood.
                total = total + torch.where(kept[:, word], term, math.log(0.5))
            sums.append(total)
        log_posterior = Normal(self.slope * x.mean(-1), 1.0).log_prob(z)
        return log_prior, log_prior + torch.stack(sums).logsumexp(0), log_posterior


class MaskedWords(Words):
    """The same with up to three words."""

    masked = True


class Chain(torch.nn.Module):
    """Four states k_t of three in a Markov chain, x_t | k_t, z normal."""

    steps = 4
    transitions = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]])

    def __init__(self):
        super().__init__()
        self.means = torch.nn.Parameter(torch.tensor([-1.0, 0.5, 2.0]))
        self.slope = torch.nn.Parameter(torch.tensor(0.3))

    def model(self, x):
        pyro.module("net", self)
        with pyro.plate(PLATE, len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            k = 0
            for t in pyro.markov(range(self.steps)):
                k = pyro.sample(
                    f"k_{t}",
                    dist.Categorical(self.transitions.to(x)[k]),
                    infer={"enumerate": "parallel"},
                )
                pyro.sample(f"x_{t}", dist.Normal(self.means[k] + z, 0.8), obs=x[:, t])

    def guide(self, x):
        with pyro.plate(PLATE, len(x)):
            pyro.sample("z", dist.Normal(self.slope * x.mean(-1), 1.0))

    def path_densities(self, x, z):
        """Return log p(x, z, k) of every path k, `(path, ...)`."""
        log_transitions, paths = self.transitions.to(x).log(), []
        for path in itertools.product(range(3), repeat=self.steps):
            total, before = Normal(0.0, 1.0).log_prob(z), 0
            for t, k in enumerate(path):
                total = total + log_transitions[before, k]
                total = total + Normal(self.means[k] + z, 0.8).log_prob(x[:, t])
                before = k
            paths.append(total)
        return torch.stack(paths)

    def densities(self, x, latents):
        """Return log p(z), log p(x, z) and log q(z|x)."""
        z = latents["z"]
        log_posterior = Normal(self.slope * x.mean(-1), 1.0).log_prob(z)
        joint = self.path_densities(x, z).logsumexp(0)
        return Normal(0.0, 1.0).log_prob(z), joint, log_posterior

    def forward_algorithm(self, x, z):
        """Return log p(x, z) by sums over one state after the other."""
        log_transitions = self.transitions.to(x).log()
        alpha = log_transitions[0]
        for t in range(self.steps):
            if t:
                alpha = (alpha.unsqueeze(-1) + log_transitions).logsumexp(-2)
            scores = Normal(self.means + z.unsqueeze(-1), 0.8).log_prob(x[:, t].unsqueeze(-1))
            alpha = alpha + scores
        return Normal(0.0, 1.0).log_prob(z) + alpha.logsumexp(-1)


class WordClasses(Words):
    """Each word also has a height b | k; the guide enumerates the topics within the words."""

    def model(self, x):
        pyro.module("net", self)
        with pyro.plate(PLATE, len(x), dim=-2):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 1), 1.0))
            with pyro.plate("words", 3, dim=-1):
                k = pyro.sample("k", dist.Bernoulli(logits=z))
                b = pyro.sample("b", dist.Normal(self.topics.to(x)[k.long()], 1.0))
                pyro.sample("x", dist.Normal(b + self.shift * z, 0.7), obs=x)

    def guide(self, x):
        config_enumerate(self.annotated)(x)

    def annotated(self, x):
        with pyro.plate(PLATE, len(x), dim=-2):
            z = pyro.sample("z", dist.Normal(self.slope * x.mean(-1, keepdim=True), 1.0))
            with pyro.plate("words", 3, dim=-1):
                k = pyro.sample("k", dist.Bernoulli(logits=self.slope * x + z))
                pyro.sample("b", dist.Normal((x + self.topics.to(x)[k.long()]) / 2, 1.0))

    def densities(self, x, latents):
        """Return log p(z, b), log p(x, z, b) and log q(z, b|x)."""
        z, b = latents["z"].reshape(-1, len(x)), latents["b"]
        prior = Normal(0.0, 1.0).log_prob(z)
        posterior = Normal(self.slope * x.mean(-1), 1.0).log_prob(z)
        likelihood = torch.zeros_like(z)
        for word in range(3):
            here, there = [], []
            for k in (0, 1):
                label = torch.tensor(float(k)).to(x)
                topic = self.topics.to(x)[k]
                here.append(
                    Bernoulli(logits=z).log_prob(label) + Normal(topic, 1.0).log_prob(b[..., word])
                )
                there.append(
                    Bernoulli(logits=self.slope * x[:, word] + z).log_prob(label)
                    + Normal((x[:, word] + topic) / 2, 1.0).log_prob(b[..., word])
                )
            prior = prior + torch.logaddexp(*here)
            posterior = posterior + torch.logaddexp(*there)
            likelihood = likelihood + Normal(b[..., word] + self.shift * z, 0.7).log_prob(
                x[:, word]
            )
        return prior, prior + likelihood, posterior
