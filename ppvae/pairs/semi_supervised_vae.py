"""A VAE that classifies, of data of which few have a label."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Self

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppvae.data import Dataset
from ppvae.engine import Array
from ppvae.likelihoods import Likelihood
from ppvae.networks import OneHot, ResidualMLP
from ppvae.pairs.arguments import check_number, tensors_of
from ppvae.pairs.conditional_vae import ConditionalVAE
from ppvae.pairs.parts import Parts
from ppvae.pairs.programs import ProgramPair, check_roles, evaluating
from ppvae.pairs.semi_supervised_programs import Guide, Model
from ppvae.posteriors import DiagonalNormal, Posterior
from ppvae.priors import Prior, StandardNormal


class SemiSupervisedVAE(ProgramPair):
    """The VAE p(y) p(z|y) p(x|z, y) with the guide q(y|x) q(z|x, y), y known for some datapoints.

    y is a class. Where it is not known it is summed out, in training and in every diagnostic.
    Where it is known, the guide has all its probability there:

        y not known:  log p(x)    >= sum_y q(y|x) (L(x, y) - log q(y|x))
        y known:      log p(x, y) >= L(x, y)
        L(x, y) = E_q[log p(y) + log p(z|y) + log p(x|z, y) - log q(z|x, y)]

    Training adds `weight * log q(y|x)` of the known classes, by which the classifier q(y|x) learns
    from labels (model M2 of Kingma, Rezende, Mohamed and Welling, "Semi-supervised learning with
    deep generative models", 2014). The term is no part of log P(X): the model has it in training
    mode alone, and diagnostics measure in evaluation mode.

    Shapes: x `(data, *event)`; y `(data,)`, whole numbers, -1 where the class is not known. A
    batch is `(x, y)`. The factors are called with y one-hot, `(*, data, classes)`.

    Args:
        prior: p(z|y), or p(z), which ignores y.
        likelihood: p(x|z, y), with a network such as `networks.Joined`.
        posterior: q(z|x, y), likewise.
        classifier: module from x to logits of q(y|x), `(*, classes)`.
        shares: p(y), the probability of each class; their sum is made 1.
        weight: of log q(y|x), beside 1 of a datapoint's bound.

    Raises:
        TypeError: if a factor is not of its role.
        ValueError: if prior and posterior have different supports, a share is not positive, there
            are fewer than two, or the weight is negative.

    Example:
        >>> from ppvae import data
        >>> digits = data.digits().labeled(known=50)
        >>> pair = SemiSupervisedVAE.of(digits, latent=2)
        >>> pair.classify(digits.test[:4]).shape
        torch.Size([4, 10])
        >>> pair.sample(5, 3).shape
        torch.Size([5, 64])
    """

    log_shares: Tensor

    def __init__(
        self,
        prior: Prior,
        likelihood: Likelihood,
        posterior: Posterior,
        classifier: nn.Module,
        shares: Sequence[float],
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_roles(self, classifier=(classifier, nn.Module))
        if len(shares) < 2 or not min(shares) > 0:
            raise ValueError(
                f"shares must be positive, one of each of two or more classes, got {shares!r:.80}"
            )
        if not 0 <= weight < math.inf:
            raise ValueError(f"weight must be a number of at least 0, got {weight}")
        self.prior, self.likelihood, self.posterior = prior, likelihood, posterior
        self.classifier, self.shares, self.weight = classifier, list(shares), weight
        self.one_hot = OneHot([len(shares)])
        self.given_class()  # checks the factors
        total = math.fsum(shares)
        # A buffer, so that it follows the pair's dtype and device.
        logs = torch.tensor([math.log(share / total) for share in shares])
        self.register_buffer("log_shares", logs, persistent=False)

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        *,
        latent: int = 10,
        network: Callable[[int, int], nn.Module] = ResidualMLP,
        prior: Callable[[int], Prior] = StandardNormal,
        likelihood: Callable[[nn.Module], Likelihood] | None = None,
        posterior: Callable[[nn.Module], Posterior] = DiagonalNormal,
        weight: float | None = None,
    ) -> Self:
        """Build the pair for a dataset with labels, of which those that are -1 are not known.

        Args:
            dataset: the data; `dataset.labeled(known=100)` hides all labels but 100.
            latent: number of latent dimensions.
            network: called with the sizes of input and output, for each of the three networks.
            prior: called with `latent`.
            likelihood: called with the decoder; without it the support decides.
            posterior: called with the encoder.
            weight: of log q(y|x); unless given 0.1 times the number of training data over that of
                labels, as in the paper.

        Raises:
            ValueError: if no label is known, or `latent` is not positive.
            Unsupported: if no likelihood is known for the support.
        """
        bare, (_, y, *_) = replace(dataset, conditions={}), cls.batches_of(dataset).batch("train")
        if y.dim() != 1 or not bool((y >= 0).any()):
            raise ValueError(f"{cls.__name__} needs labels, dataset {dataset.name!r} gives none")
        counts = torch.bincount(y[y >= 0], minlength=dataset.classes)
        given = ConditionalVAE.of(
            bare,
            latent=latent,
            network=network,
            prior=prior,
            likelihood=likelihood,
            posterior=posterior,
        )
        parts = Parts(bare, latent=latent, network=network, likelihood=likelihood)
        return cls(
            given.prior,
            given.likelihood,
            given.posterior,
            parts.encoder(dataset.classes),
            shares=(counts + 1).tolist(),  # no class is impossible
            weight=0.1 * len(y) / int(counts.sum()) if weight is None else weight,
        )

    @classmethod
    def batches_of(cls, dataset: Dataset) -> Dataset:
        """Return the dataset whose batches are x and the number of its class, or -1."""
        return dataset if dataset.conditions else dataset.labeled()

    @property
    def model(self) -> nn.Module:
        """The model p(y) p(z|y) p(x|z, y), called with `x` and `y`."""
        return self.program(Model)

    @property
    def guide(self) -> nn.Module:
        """The guide q(y|x) q(z|x, y), called with `x` and `y`."""
        return self.program(Guide)

    def given_class(self) -> ConditionalVAE:
        """Return the pair p(z|y) p(x|z, y) and q(z|x, y), which has the same factors."""
        return ConditionalVAE(self.prior, self.likelihood, self.posterior, self.one_hot.levels)

    def classify(self, x: Array) -> Tensor:
        """Return the classifier's probabilities q(y|x), `(data, classes)`.

        The model's p(y|x) is p(x, y) / p(x): `diagnostics.evidence` of x with each class as y
        measures the first, with -1 as y the second.
        """
        (x,) = tensors_of(self, (x,), "x")
        with evaluating(self, (x,)):
            probabilities: Tensor = self.classifier(x).softmax(-1)
        return probabilities

    def encode(self, x: Array, y: Array | None = None) -> dist.Distribution:
        """Return q(z|x, y), or without y the mixture q(z|x) = sum_y q(y|x) q(z|x, y)."""
        if y is not None:
            return self.given_class().encode(x, y)
        (x,) = tensors_of(self, (x,), "x")
        with evaluating(self, (x,)):
            every = torch.eye(len(self.shares)).to(x)
            each = self.posterior(x.unsqueeze(1), every).expand([len(x), len(every)])
            return dist.MixtureSameFamily(dist.Categorical(logits=self.classifier(x)), each)

    def decode(self, z: Array, y: Array) -> dist.Distribution:
        """Return p(x|z, y) for `z` of shape `(*, data, latent)`."""
        return self.given_class().decode(z, y)

    @torch.no_grad()
    def sample(self, n: int, y: Array | int | None = None) -> Tensor:
        """Draw `n` datapoints from p(x), or p(x|y) of one class: `(n, *event)`.

        Given several classes `(data,)`, draw `n` of each: `(n, data, *event)`.
        """
        check_number(n)
        if y is None:
            drawn = dist.Categorical(logits=self.log_shares).sample((n,))
            return self.given_class().sample(1, drawn).squeeze(0)
        return self.given_class().sample(n, torch.tensor(y) if isinstance(y, int) else y)
