"""Documents: counts of words, of texts or drawn from known topics."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.distributions import Dirichlet, constraints

from ppvae.data.dataset import Dataset
from ppvae.data.splitting import split


def documents(
    texts: Sequence[str],
    *,
    name: str = "documents",
    labels: Sequence[str] | None = None,
    words: int = 2000,
    rarest: int = 5,
    commonest: float = 0.5,
    seed: int = 0,
) -> Dataset:
    """Return how often each text uses each word, in lower case, English function words left out.

    Args:
        texts: the texts.
        name: that of the dataset.
        labels: the class of each text.
        words: how many words there are at most, the most frequent ones.
        rarest: in how many texts a word must occur.
        commonest: in which share of the texts it may occur.
        seed: of the split.

    Returns:
        Counts `(texts, words)`, the words as `columns`.

    Raises:
        ValueError: if no word is left, or labels are not one a text.

    Example:
        >>> texts = ["The cat sat on the mat.", "A cat, another cat!", "The dog sat."] * 4
        >>> cats = documents(texts, rarest=1)
        >>> cats.columns, cats.train.shape
        (('dog', 'mat'), torch.Size([10, 2]))
    """
    from sklearn.feature_extraction.text import CountVectorizer

    counting = CountVectorizer(
        stop_words="english",
        token_pattern=r"(?u)\b[^\W\d_]{3,}\b",
        max_features=words,
        min_df=rarest,
        max_df=commonest,
    )
    counts = torch.as_tensor(counting.fit_transform(texts).toarray(), dtype=torch.float32)
    names = tuple(sorted(set(labels or ())))
    classes = None if labels is None else torch.tensor([names.index(each) for each in labels])
    parts = split(name, counts, constraints.nonnegative_integer, labels=classes, seed=seed)
    columns = tuple(map(str, counting.get_feature_names_out()))
    return replace(parts, columns=columns, label_names=names)


def topic_documents(
    rows: int = 3000,
    *,
    topics: int = 10,
    words: int = 500,
    length: int = 80,
    concentration: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """Return documents whose words are drawn from known topics.

    Shares of topics are Dirichlet, and a word comes from a topic with the probability of its share
    (Blei, Ng and Jordan, "Latent Dirichlet allocation", 2003). `topic_words` of the same numbers
    are the topics.

    Args:
        rows: number of documents.
        topics: number of topics.
        words: size of the vocabulary.
        length: words of a document.
        concentration: of the shares of topics.
        seed: of all random numbers.

    Returns:
        Counts `(rows, words)`, the shares of topics as factors.

    Raises:
        ValueError: if a number is not positive.

    Example:
        >>> topic_documents(100, topics=4).factors["train"].shape
        torch.Size([80, 4])
    """
    if min(rows, length, concentration) <= 0:
        raise ValueError(
            "topic_documents needs positive rows, length and concentration, got "
            f"{rows}, {length} and {concentration}"
        )
    of = topic_words(topics, words, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        shares = Dirichlet(torch.full((rows, topics), concentration)).sample()
        drawn = (shares @ of).multinomial(length, replacement=True)
    counts = torch.zeros(rows, words).scatter_add_(1, drawn, torch.ones(drawn.shape))
    columns = {f"topic {number}": share for number, share in enumerate(shares.T)}
    return split("topics", counts, constraints.nonnegative_integer, factors=columns, seed=seed)


def topic_words(topics: int = 10, words: int = 500, *, seed: int = 0) -> Tensor:
    """Return topics, each of which uses few words: the share of each word, `(topics, words)`.

    Raises:
        ValueError: if a number is not positive.

    Example:
        >>> topic_words(4, 50).shape
        torch.Size([4, 50])
    """
    if min(topics, words) < 1:
        raise ValueError(f"topic_words needs topics and words, got {topics} and {words}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        shares: Tensor = Dirichlet(torch.full((topics, words), 0.05)).sample()
    return shares
