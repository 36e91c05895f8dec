"""Shares of topics to logits of words."""

import torch
from torch import Tensor, nn

from ppvae.networks.shapes import check_input, check_sizes


class Topics(nn.Module):
    """Gives the logits of words in a document: b + softmax(z) B.

    A row of B says how much more, or less, a topic uses each word than documents do in general. As
    softmax(b + sum_k share_k B_k) is a product of the topics' shares of words, each to the power
    of its share, words that one topic excludes stay rare, which a mixture of topics cannot say
    (Srivastava and Sutton, "Autoencoding variational inference for topic models", 2017).

    Shapes: `(*, topics)` to `(*, words)`.

    Args:
        topics: their number, K.
        words: size of the vocabulary.

    Raises:
        ValueError: if a size is not positive, or the input is of another shape.

    Example:
        >>> Topics(20, 1000)(torch.zeros(5, 20)).shape
        torch.Size([5, 1000])
    """

    def __init__(self, topics: int, words: int) -> None:
        super().__init__()
        check_sizes(self, topics=topics, words=words)
        self.topics, self.words = topics, words
        # Topics that start alike would stay so: shares would say nothing, and cost.
        self.weight = nn.Parameter(torch.randn(topics, words))
        self.bias = nn.Parameter(torch.zeros(words))

    def shares(self, z: Tensor) -> Tensor:
        """Return the share of each topic, softmax(z)."""
        return z.softmax(-1)

    def forward(self, z: Tensor) -> Tensor:
        """Map `(*, topics)` to `(*, words)`."""
        check_input(self, z, (self.topics,))
        return self.shares(z) @ self.weight + self.bias
