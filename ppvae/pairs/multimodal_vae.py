"""A VAE of several views of a datapoint, of which some may be missing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Self

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppvae.data import Dataset, halves
from ppvae.engine import Array
from ppvae.likelihoods import Likelihood
from ppvae.networks import ResidualMLP
from ppvae.pairs.arguments import check_rows, floating, tensors_of
from ppvae.pairs.experts import Experts, ProductOfExperts
from ppvae.pairs.parts import Parts
from ppvae.pairs.programs import Program, ProgramPair, check_roles, evaluating
from ppvae.posteriors import DiagonalNormal
from ppvae.priors import StandardNormal


class MultimodalVAE(ProgramPair):
    """The VAE p(z) p(x_1|z) ... p(x_M|z) of M views, with the guide q(z | those that are there).

        log p(x_A) >= E_q(z|x_A)[sum_(m in A) log p(x_m|z)] - KL[q(z|x_A) || p(z)]

    for the views A of a datapoint (Wu and Goodman, "Multimodal generative models for scalable
    weakly-supervised learning", 2018). The conditional log p(x_B|x_A) is log p(x_A, x_B) less
    log p(x_A): `diagnostics.evidence` of the same rows, marked so and so.

    A batch is `(x_1, ..., x_M)`, or `(x_1, ..., x_M, present)`, where present `(data, M)` is 1 or
    0. What a missing view holds enters neither objective nor gradients; it must be finite, and of
    the support.

    Args:
        likelihoods: p(x_m|z) of each view.
        posterior: q(z | views), such as `ProductOfExperts`; the prior is N(0, I).
        latent: number of latent dimensions.

    Raises:
        TypeError: if a factor is not of its role.
        ValueError: if there are not as many likelihoods as experts.

    Example:
        >>> from ppvae import data
        >>> pair = MultimodalVAE.of(data.halves(data.digits()), latent=2)
        >>> left, right = data.halves(data.digits()).batch("test")
        >>> pair.translate([left[:3], None])[1].shape
        torch.Size([3, 32])
    """

    def __init__(self, likelihoods: Sequence[Likelihood], posterior: Experts, latent: int) -> None:
        super().__init__()
        check_roles(
            self,
            posterior=(posterior, Experts),
            **{f"likelihood {m}": (each, Likelihood) for m, each in enumerate(likelihoods, 1)},
        )
        if len(likelihoods) != len(posterior.experts):
            raise ValueError(
                "MultimodalVAE needs a likelihood and an expert for each view, got "
                f"{len(likelihoods)} likelihoods and {len(posterior.experts)} experts"
            )
        self.prior = StandardNormal(latent)
        self.likelihoods = nn.ModuleList(likelihoods)
        self.posterior = posterior
        self.latent = latent

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        *,
        latent: int = 10,
        network: Callable[[int, int], nn.Module] = ResidualMLP,
        likelihood: Callable[[nn.Module], Likelihood] | None = None,
        posterior: type[Experts] = ProductOfExperts,
    ) -> Self:
        """Build the pair for a dataset whose conditions are the other views of each datapoint.

        Args:
            dataset: the first view, and as conditions the others, of the same support; of images
                alone the halves are taken.
            latent: number of latent dimensions.
            network: called with the sizes of input and output, for each encoder and decoder.
            likelihood: called with each decoder; without it the support decides.
            posterior: the class of q(z | views).

        Raises:
            ValueError: if there is one view alone, or `latent` is not positive.
            Unsupported: if no likelihood is known for the support.
        """
        dataset = cls.batches_of(dataset)
        views = dataset.batch("train")
        if len(views) < 2:
            raise ValueError(
                f"MultimodalVAE needs views beside the first, as conditions; dataset "
                f"{dataset.name!r} has none: see data.halves"
            )
        parts = [
            Parts(
                replace(dataset, train=view, conditions={}),
                latent=latent,
                network=network,
                likelihood=likelihood,
            )
            for view in views
        ]
        experts = [DiagonalNormal(each.encoder(2 * latent)) for each in parts]
        return cls([each.likelihood() for each in parts], posterior(experts), latent)

    @classmethod
    def batches_of(cls, dataset: Dataset) -> Dataset:
        """Return the dataset, or that of the two halves of images which have no other view."""
        alone = dataset.image_shape is not None and not dataset.conditions
        return halves(dataset) if alone else dataset

    @property
    def model(self) -> nn.Module:
        """The model p(z) p(x_1|z) ... p(x_M|z), called with the views and which are there."""
        return self.program(_Model)

    @property
    def guide(self) -> nn.Module:
        """The guide q(z | views that are there), called likewise."""
        return self.program(_Guide)

    def encode(self, views: Sequence[Array | None]) -> dist.Distribution:
        """Return q(z | views) for views `(*, *event)`; None where one is missing.

        Raises:
            TypeError: if a view is no tensor and no array or table of numbers.
            ValueError: if the number of views is another, or none is there.
        """
        if len(views) != len(self.likelihoods) or all(view is None for view in views):
            raise ValueError(
                f"encode needs {len(self.likelihoods)} views, one of them at least not None, got "
                f"{len(views)}, {sum(view is not None for view in views)} not None"
            )
        known = tensors_of(self, [view for view in views if view is not None], "view")
        left = iter(known)
        with evaluating(self, known):
            return self.posterior([None if view is None else next(left) for view in views])

    def decode(self, z: Array) -> list[dist.Distribution]:
        """Return p(x_m|z) of each view for `z` of shape `(*, latent)`."""
        (z,) = tensors_of(self, (z,), "z")
        with evaluating(self, (z,)):
            return [likelihood(z) for likelihood in self.likelihoods]

    @torch.no_grad()
    def translate(self, views: Sequence[Array | None]) -> list[Tensor]:
        """Return the mean of every view at one draw of q(z | views); None where one is missing."""
        return [view.mean for view in self.decode(self.encode(views).sample())]

    @torch.no_grad()
    def sample(self, n: int) -> list[Tensor]:
        """Draw `n` datapoints of all views, `(n, *event)` each."""
        return [view.sample() for view in self.decode(self.prior().sample((n,)))]


class _Program(Program[MultimodalVAE]):
    def batch(self, *tensors: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the views, and which are there."""
        count = len(self.pair.likelihoods)
        if len(tensors) not in (count, count + 1):
            raise TypeError(
                f"MultimodalVAE needs {count} views, and may get which are there, `(data, "
                f"{count})`; got {len(tensors)} tensors"
            )
        check_rows(tensors)
        views = floating(self.pair, tensors[:count])
        if len(tensors) == count:
            return views, torch.ones(
                len(views[0]), count, dtype=torch.bool, device=views[0].device
            )
        return views, tensors[count] > 0


class _Model(_Program):
    def forward(self, *tensors: Tensor) -> None:
        views, present = self.batch(*tensors)
        with pyro.plate("data", len(present)):
            z = pyro.sample("z", self.pair.prior())
            for place, (likelihood, view) in enumerate(
                zip(self.pair.likelihoods, views, strict=True)
            ):
                with pyro.poutine.mask(mask=present[:, place]):
                    pyro.sample(f"x{place + 1}", likelihood(z), obs=view)


class _Guide(_Program):
    def forward(self, *tensors: Tensor) -> Tensor:
        views, present = self.batch(*tensors)
        with pyro.plate("data", len(present)):
            z: Tensor = pyro.sample("z", self.pair.posterior(views, present))
        return z
