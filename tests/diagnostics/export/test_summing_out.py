"""`from_pyro_svi` on models with discrete latents, against sums over all their values."""

import itertools
import math

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import config_enumerate

import ppvae
from tests.diagnostics.export.test_pairs import SIGMA, groups

LOCS = torch.tensor([-1.0, 2.0]).double()
CHOICE = torch.tensor([0.3, 0.7]).double()


def exported(model, guide, *args, draws=5):
    return groups(ppvae.from_pyro_svi(model, guide, *args, draws=draws))


def normal(loc, x):
    return dist.Normal(loc, 1.0).log_prob(x)


@config_enumerate
def mixture(x):
    locs = pyro.sample("locs", dist.Normal(LOCS, 1.0).to_event(1))
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Categorical(CHOICE))
        pyro.sample("x", dist.Normal(locs[k], 1.0), obs=x)


def locs_guide(x):
    pyro.sample("locs", dist.Normal(LOCS, 0.5).to_event(1))


def test_mixture_with_a_global_latent():
    x = torch.linspace(-2, 3, 5).double()
    found = exported(mixture, locs_guide, x, draws=100)
    locs = torch.tensor(found["posterior"].locs.values[0])
    each = CHOICE.log() + normal(locs[:, None, :], x[:, None])
    exact = each.logsumexp(-1)
    assert np.allclose(found["log_likelihood"].x.values[0], exact)
    assert found["log_likelihood"].x.attrs["summed_out"] == "k"
    weight = exact.sum(1) + normal(LOCS, locs).sum(1)
    weight -= dist.Normal(LOCS, 0.5).log_prob(locs).sum(1)
    assert np.allclose(found["sample_stats"].log_weight.values[0], weight)
    assert found["posterior"].k.dims == ("chain", "draw", "data")
    probability = each.softmax(-1)[..., 1]
    error = found["posterior"].k.values[0] - probability.numpy()
    bound = SIGMA * (probability * (1 - probability)).sum(0).sqrt().numpy() / 100
    assert (abs(error.mean(0)) < bound + 1e-12).all()
    near = (
        found["posterior_predictive"].x.values[0]
        - locs.gather(1, torch.tensor(found["posterior"].k.values[0])).numpy()
    )
    assert abs(near.mean()) < SIGMA / math.sqrt(near.size)


def chain(x):
    """A chain of three hidden states for each row, and a latent that depends on the last."""
    move = torch.tensor([[0.8, 0.2], [0.4, 0.6]]).double()
    with pyro.plate("data", len(x)):
        state = 0
        for step in pyro.markov(range(3)):
            state = pyro.sample(f"s{step}", dist.Categorical(move[state]))
            pyro.sample(f"x{step}", dist.Normal(LOCS[state], 1.0), obs=x[:, step])
            if step == 2:
                pyro.sample("z", dist.Normal(LOCS[state], 1.0))


def chain_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x.mean(1), 1.0))


def test_chain_of_states_given_a_latent_of_the_last():
    x = torch.tensor([[0.1, -1.0, 2.0], [3.0, 0.5, -2.0]]).double()
    found = exported(chain, chain_guide, x)
    z = torch.tensor(found["posterior"].z.values[0])
    move = torch.tensor([[0.8, 0.2], [0.4, 0.6]]).double()
    paths = list(itertools.product(range(2), repeat=3))
    prior = torch.stack(
        [(move[0, a] * move[a, b] * move[b, c]).log() + normal(LOCS[c], z) for a, b, c in paths]
    )
    seen = torch.stack([normal(LOCS[list(path)], x) for path in paths])  # (path, data, step)
    for step in range(3):
        exact = (prior + seen[:, None, :, step]).logsumexp(0) - prior.logsumexp(0)
        assert np.allclose(found["log_likelihood"][f"x{step}"].values[0], exact)
    joint = (prior + seen.sum(-1)[:, None]).logsumexp(0).sum(-1)
    log_q = normal(x.mean(1), z).sum(-1)
    assert np.allclose(found["sample_stats"].log_weight.values[0], joint - log_q)
    assert set(found["posterior"]) == {"s0", "s1", "s2", "z"}


def documents(x):
    """A topic for each document, a switch for each word, one coin for all."""
    coin = pyro.sample("coin", dist.Bernoulli(x.new_tensor(0.4)))
    with pyro.plate("document", len(x), dim=-2):
        topic = pyro.sample("topic", dist.Categorical(CHOICE))
        pyro.sample("title", dist.Normal(LOCS[topic] + coin, 1.0), obs=x[:, :1])
        with pyro.plate("word", x.shape[1], dim=-1):
            switch = pyro.sample("switch", dist.Bernoulli(0.2 + 0.5 * topic.to(x.dtype)))
            pyro.sample("x", dist.Normal(LOCS[topic] + switch, 1.0), obs=x)


def test_discrete_latents_in_nested_plates_and_none_in_the_guide():
    x = torch.tensor([[0.1, -1.0, 2.0], [3.0, 0.5, -2.0]]).double()
    found = exported(documents, lambda x: None, x)
    switch = torch.stack([0.8 - 0.5 * torch.arange(2), 0.2 + 0.5 * torch.arange(2)]).double()
    by_topic = torch.stack([normal(LOCS[:, None, None] + s, x) for s in range(2)])
    words = (by_topic + switch.log()[:, :, None, None]).logsumexp(0)  # (topic, document, word)
    topics = CHOICE.log()[:, None, None]
    assert np.allclose(found["log_likelihood"].x.values[0], (topics + words).logsumexp(0))
    total = []
    for coin, chance in enumerate((0.6, 0.4)):
        titles = normal(LOCS[:, None] + coin, x[:, 0])
        rows = (topics[..., 0] + titles + words.sum(-1)).logsumexp(0)
        total.append(math.log(chance) + rows.sum())
    exact = torch.stack(total).logsumexp(0)
    assert np.allclose(found["sample_stats"].log_weight.values[0], exact)
    assert found["posterior"].switch.dims == ("chain", "draw", "document", "word")
    assert found["posterior"].coin.dims == ("chain", "draw")


def subsampled_mixture(x):
    with pyro.plate("data", 20, subsample_size=4) as index:
        k = pyro.sample("k", dist.Categorical(CHOICE))
        pyro.sample("x", dist.Normal(LOCS[k], 1.0), obs=x[index])


def test_factor_of_a_subsample_stands_outside_the_sum():
    x = torch.linspace(-2, 3, 20).double()
    found = exported(subsampled_mixture, lambda x: None, x, draws=2)
    seen = x[found["posterior"].data.values.copy()]
    exact = (CHOICE.log() + normal(LOCS, seen[:, None])).logsumexp(-1)
    assert np.allclose(found["log_likelihood"].x.values[0], exact)
    assert np.allclose(found["sample_stats"].log_weight.values[0], 5 * exact.sum())
