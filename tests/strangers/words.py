"""Words in documents: Pyro's lda, prodlda and sparse_gamma_def."""

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import TraceEnum_ELBO, TraceMeanField_ELBO
from torch import nn
from torch.distributions import Dirichlet, Gamma, Multinomial, Poisson, constraints

from tests.strangers.stranger import (
    ONE_POINT,
    PICKED,
    Stranger,
    counts,
    exact,
    grid,
    sampled,
    seeded_data,
)

TOPICS, WORDS, LENGTH, DOCUMENTS = 2, 5, 4, 12


class LDA(nn.Module):
    """Words by documents: the data's second dimension is that of the plate "documents"."""

    def __init__(self, point, batch_size=None):
        super().__init__()
        self.point = point
        self.batch_size = batch_size
        self.predictor = nn.Sequential(nn.Linear(WORDS, 6), nn.Sigmoid(), nn.Linear(6, TOPICS))

    def model(self, data=None, batch_size=None):
        with pyro.plate("topics", TOPICS):
            topic_weights = pyro.sample("topic_weights", dist.Gamma(1.0 / TOPICS, 1.0))
            topic_words = pyro.sample("topic_words", dist.Dirichlet(torch.ones(WORDS) / WORDS))
        with pyro.plate("documents", data.shape[1], batch_size or self.batch_size) as ind:
            data = data[:, ind]
            doc_topics = pyro.sample("doc_topics", dist.Dirichlet(topic_weights))
            with pyro.plate("words", LENGTH):
                word_topics = pyro.sample(
                    "word_topics", dist.Categorical(doc_topics), infer={"enumerate": "parallel"}
                )
                pyro.sample("doc_words", dist.Categorical(topic_words[word_topics]), obs=data)

    def guide(self, data, batch_size=None):
        weights_posterior = pyro.param(
            "topic_weights_posterior", lambda: torch.ones(TOPICS), constraint=constraints.positive
        )
        words_posterior = pyro.param(
            "topic_words_posterior",
            lambda: torch.ones(TOPICS, WORDS),
            constraint=constraints.greater_than(0.5),
        )
        with pyro.plate("topics", TOPICS):
            pyro.sample("topic_weights", dist.Gamma(4 * weights_posterior, 2.0))
            pyro.sample("topic_words", dist.Dirichlet(words_posterior))
        pyro.module("predictor", self.predictor)
        with pyro.plate("documents", data.shape[1], batch_size or self.batch_size) as ind:
            data = data[:, ind]
            seen = torch.zeros(WORDS, ind.size(0)).scatter_add(0, data, torch.ones(data.shape))
            logits = self.predictor(seen.transpose(0, 1))
            if self.point:
                doc_topics = dist.Delta(logits.softmax(-1), event_dim=1)
            else:
                doc_topics = dist.Dirichlet(1 + nn.functional.softplus(logits))
            pyro.sample("doc_topics", doc_topics)


def of_documents(pair, batch, given):
    """Average over draws of the mixture of topics from its prior, each word's topic summed out."""
    words = batch[0]  # (words, documents)
    weights = given["topic_weights"]
    topics = given["topic_words"].reshape(TOPICS, WORDS)
    mixtures = Dirichlet(weights).sample((40_000,)) @ topics  # (draws, vocabulary)
    return sampled(mixtures.log()[:, words].sum(1))


def corpus(seed=0):
    generator = seeded_data(seed)
    return torch.randint(WORDS, (LENGTH, DOCUMENTS), generator=generator)


class ProdLDA(nn.Module):
    """Logistic-normal topics, batch normalization and dropout; a softmax over dimension 1."""

    def __init__(self):
        super().__init__()
        self.beta = nn.Linear(TOPICS, WORDS, bias=False)
        self.bn = nn.BatchNorm1d(WORDS, affine=False)
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(WORDS, 6)
        self.fcmu, self.fclv = nn.Linear(6, TOPICS), nn.Linear(6, TOPICS)
        self.bnmu = nn.BatchNorm1d(TOPICS, affine=False)
        self.bnlv = nn.BatchNorm1d(TOPICS, affine=False)

    def decoder(self, theta):
        return nn.functional.softmax(self.bn(self.beta(self.drop(theta))), dim=1)

    def encoder(self, docs):
        hidden = self.drop(nn.functional.softplus(self.fc(docs)))
        return self.bnmu(self.fcmu(hidden)), (0.5 * self.bnlv(self.fclv(hidden))).exp()

    def model(self, docs):
        pyro.module("prodlda", self)
        with pyro.plate("documents", docs.shape[0]):
            logtheta_loc = docs.new_zeros((docs.shape[0], TOPICS))
            logtheta_scale = docs.new_ones((docs.shape[0], TOPICS))
            logtheta = pyro.sample(
                "logtheta", dist.Normal(logtheta_loc, logtheta_scale).to_event(1)
            )
            theta = nn.functional.softmax(logtheta, -1)
            count_param = self.decoder(theta)
            total_count = int(docs.sum(-1).max())
            pyro.sample("obs", dist.Multinomial(total_count, count_param), obs=docs)

    def guide(self, docs):
        pyro.module("prodlda", self)
        with pyro.plate("documents", docs.shape[0]):
            loc, scale = self.encoder(docs)
            pyro.sample("logtheta", dist.Normal(loc, scale).to_event(1))


def of_topics(pair, batch, given=None):
    docs = batch[0]
    nodes, weights = grid(TOPICS)
    probs = pair.decoder(nodes.softmax(-1))[:, None]
    per_count = [
        Multinomial(int(row.sum()), probs[:, 0]).log_prob(row) for row in docs
    ]  # each row has its own number of words
    return exact(weights[:, None] + torch.stack(per_count, -1))


TOP, MIDDLE, BOTTOM = 1, 2, 3


class SparseGamma(nn.Module):
    """Layers of gammas, weights that all rows share, and a parameter of the guide for each row."""

    alpha_z = torch.tensor(2.0)
    beta_z = torch.tensor(1.5)
    alpha_w = torch.tensor(2.0)
    beta_w = torch.tensor(2.0)

    def model(self, x):
        with pyro.plate("w_top_plate", TOP * MIDDLE):
            w_top = pyro.sample("w_top", dist.Gamma(self.alpha_w, self.beta_w))
        with pyro.plate("w_bottom_plate", MIDDLE * BOTTOM):
            w_bottom = pyro.sample("w_bottom", dist.Gamma(self.alpha_w, self.beta_w))
        with pyro.plate("data", x.size(0)):
            z_top = pyro.sample(
                "z_top", dist.Gamma(self.alpha_z, self.beta_z).expand([TOP]).to_event(1)
            )
            mean_mid = torch.matmul(z_top, w_top.reshape(TOP, MIDDLE))
            z_mid = pyro.sample(
                "z_mid", dist.Gamma(self.alpha_z, self.beta_z / mean_mid).to_event(1)
            )
            mean_obs = torch.matmul(z_mid, w_bottom.reshape(MIDDLE, BOTTOM))
            pyro.sample("obs", dist.Poisson(mean_obs).to_event(1), obs=x)

    def guide(self, x):
        x_size = x.size(0)

        def sample_zs(name, width):
            start = torch.ones(x_size, width)
            alpha_z_q = pyro.param(f"alpha_{name}_q", 0.5 + start)
            mean_z_q = pyro.param(f"mean_{name}_q", start)
            alpha, mean = nn.functional.softplus(alpha_z_q), nn.functional.softplus(mean_z_q)
            pyro.sample(name, dist.Gamma(alpha, alpha / mean).to_event(1))

        def sample_ws(name, width):
            alpha_w_q = pyro.param(f"alpha_{name}_q", lambda: torch.full((width,), 1.5))
            mean_w_q = pyro.param(f"mean_{name}_q", lambda: 1.0 + 0.1 * torch.randn(width))
            alpha, mean = nn.functional.softplus(alpha_w_q), nn.functional.softplus(mean_w_q)
            pyro.sample(name, dist.Gamma(alpha, alpha / mean))

        with pyro.plate("w_top_plate", TOP * MIDDLE):
            sample_ws("w_top", TOP * MIDDLE)
        with pyro.plate("w_bottom_plate", MIDDLE * BOTTOM):
            sample_ws("w_bottom", MIDDLE * BOTTOM)
        with pyro.plate("data", x_size):
            sample_zs("z_top", TOP)
            sample_zs("z_mid", MIDDLE)


def of_gammas(pair, batch, given):
    w_top = given["w_top"].reshape(TOP, MIDDLE)
    w_bottom = given["w_bottom"].reshape(MIDDLE, BOTTOM)
    z_top = Gamma(pair.alpha_z, pair.beta_z).sample((100_000, TOP))
    z_mid = Gamma(pair.alpha_z, pair.beta_z / (z_top @ w_top)).sample()
    rate = (z_mid @ w_bottom).clamp_min(1e-20)[:, None]
    return sampled(Poisson(rate).log_prob(batch[0]).sum(-1))


DOCUMENTS_BY_COLUMN = {"data_plate": "documents", "data_dim": 1}
STRANGERS = (
    Stranger(
        "lda",
        lambda: LDA(point=True),
        lambda: [(corpus(),)],
        objective=lambda: TraceEnum_ELBO(max_plate_nesting=2),
        rows=lambda batch: batch[0].shape[1],
        adapted=DOCUMENTS_BY_COLUMN,
        expected=dict.fromkeys(("evidence", "pareto_k", "diagnose"), (ONE_POINT,)),
        shared=True,
    ),
    Stranger(
        "lda_dirichlet",
        lambda: LDA(point=False),
        lambda: [(corpus(),)],
        objective=lambda: TraceEnum_ELBO(max_plate_nesting=2),
        log_evidence=of_documents,
        rows=lambda batch: batch[0].shape[1],
        adapted=DOCUMENTS_BY_COLUMN,
        shared=True,
    ),
    Stranger(
        "lda_subsample",
        lambda: LDA(point=False, batch_size=5),
        lambda: [(corpus(),)],
        objective=lambda: TraceEnum_ELBO(max_plate_nesting=2),
        log_evidence=of_documents,
        rows=lambda batch: batch[0].shape[1],
        adapted=DOCUMENTS_BY_COLUMN,
        expected={"diagnose": (PICKED, "the program picks 5 datapoints itself")},
        shared=True,
    ),
    Stranger(
        "prodlda",
        ProdLDA,
        lambda: [(counts(12, WORDS, seed=seed),) for seed in range(2)],
        log_evidence=of_topics,
        expected={"compiled": ("Python reads a tensor's value by `int`",)},
    ),
    Stranger(
        "sparse_gamma_def",
        SparseGamma,
        lambda: [(counts(8, BOTTOM),)],
        objective=TraceMeanField_ELBO,
        log_evidence=of_gammas,
        draws=2000,
        steps=600,
        shared=True,
    ),
)
