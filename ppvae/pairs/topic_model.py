"""A VAE of documents: which topics each is about, and which words a topic uses."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.data import Dataset
from ppvae.engine import Array, Unsupported
from ppvae.likelihoods import Likelihood, Multinomial
from ppvae.networks import MLP, Topics
from ppvae.pairs.families import totals
from ppvae.pairs.parts import Parts
from ppvae.pairs.vae import VAE
from ppvae.posteriors import DiagonalNormal, Posterior
from ppvae.priors import LogisticNormal, Prior

_SAMPLE = 10_000  # documents among which starts are sought


class TopicModel(VAE):
    """The VAE p(z) p(x|z) of counts of words x, with the shares softmax(z) of topics.

        x ~ Multinomial(n, softmax(b + sum_k softmax(z)_k B_k)),  n = sum_i x_i

    This is ProdLDA (Srivastava and Sutton, "Autoencoding variational inference for topic models",
    2017), without its batch normalization, so that no document depends on others. Against topics
    that all become the same, which it is for, `of` starts b at the logarithms of how often words
    occur, and topics at halves of documents that are far from each other, drawn as k-means++ draws
    (Arthur and Vassilvitskii, 2007). Take a learning rate of 3e-3 to 1e-2.

    Args:
        prior: p(z), such as `priors.LogisticNormal`.
        likelihood: p(x|z), whose network is a `networks.Topics`.
        posterior: q(z|x).

    Raises:
        TypeError: if a factor is not of its role.

    Example:
        >>> from ppvae import data
        >>> documents = data.topic_documents(200, topics=4, words=50)
        >>> pair = TopicModel.of(documents, latent=4)
        >>> pair.words(5).shape, pair.shares(documents.test).shape
        (torch.Size([4, 5]), torch.Size([20, 4]))
    """

    def __init__(self, prior: Prior, likelihood: Likelihood, posterior: Posterior) -> None:
        super().__init__(prior, likelihood, posterior)
        if not isinstance(likelihood.network, Topics):
            raise TypeError(
                "TopicModel needs a likelihood whose network is a networks.Topics, got "
                f"{type(likelihood.network).__name__}"
            )

    @property
    def topics(self) -> Topics:
        """The network from topics to words."""
        assert isinstance(self.likelihood.network, Topics)
        return self.likelihood.network

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        *,
        latent: int = 20,
        concentration: float | Sequence[float] = 0.2,
        network: Callable[[int, int], nn.Module] = MLP,
        posterior: Callable[[nn.Module], Posterior] = DiagonalNormal,
    ) -> Self:
        """Build the pair for counts of words.

        Args:
            dataset: the data; a datapoint counts the words of a document.
            latent: number of topics.
            concentration: that of the Dirichlet which shares of topics nearly follow.
            network: called with the sizes of input and output, for the encoder.
            posterior: called with the encoder.

        Raises:
            ValueError: if there are fewer than two topics or more than documents, or a
                concentration is not positive.
            Unsupported: if the data are no counts.
        """
        if dataset.support is not constraints.nonnegative_integer or dataset.seen:
            raise Unsupported(
                f"TopicModel needs counts of words that are all known; dataset {dataset.name!r} "
                f"has the support {dataset.support}{' and missing cells' * bool(dataset.seen)}"
            )
        parts = Parts(cls.batches_of(dataset), latent=latent, network=network, posterior=posterior)
        documents = parts.dataset.train
        common = totals(documents).add(1)  # each word as if it had occurred once more
        topics = Topics(latent, len(common))
        with torch.no_grad():
            topics.bias.copy_(common.log() - common.log().mean())
            share = _far_apart(documents, latent)
            topics.weight.copy_((0.5 + 0.5 * share / (common / common.sum())).log())
        length = max(1, round(float(common.sum()) / len(documents)))
        factor = Multinomial(topics, total_count=length)
        return cls(LogisticNormal(latent, concentration), factor, parts.posterior())

    @classmethod
    def batches_of(cls, dataset: Dataset) -> Dataset:
        """Return the dataset without sizes: a document's length is that of its counts."""
        return replace(dataset, sizes={})

    @torch.no_grad()
    def shares(self, x: Array) -> Tensor:
        """Return the share of each topic in documents, at the mean of q(z|x): `(data, topics)`."""
        return self.topics.shares(self.encode(x).mean)

    def words(self, count: int = 10) -> Tensor:
        """Return the numbers of the words that each topic raises most: `(topics, count)`."""
        return self.topics.weight.detach().topk(count).indices


def _far_apart(documents: Array, count: int) -> Tensor:
    """Return the shares of words in documents that differ: `(count, words)`."""
    from sklearn.cluster import kmeans_plusplus

    if len(documents) < count:
        raise ValueError(
            f"TopicModel needs at least as many documents as topics, got {len(documents)} for "
            f"latent {count}; take fewer topics"
        )
    sample = documents[torch.randperm(len(documents))[:_SAMPLE]]
    share = sample / sample.sum(-1, keepdim=True).clamp(min=1)
    # Of square roots of shares, the distance is Hellinger's.
    seed = int(torch.randint(2**31, ()))
    _, rows = kmeans_plusplus(share.sqrt().numpy(), count, random_state=seed)
    return share[torch.from_numpy(rows)]
