"""A VAE of images in which the same content is turned, moved or resized."""

import functools
import math
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from ppvae.data import Dataset
from ppvae.engine import Array
from ppvae.likelihoods import Likelihood
from ppvae.networks import MLP, Canvas, SpatialDecoder
from ppvae.pairs.arguments import tensors_of
from ppvae.pairs.parts import Parts
from ppvae.pairs.programs import evaluating
from ppvae.pairs.vae import VAE
from ppvae.posteriors import DiagonalNormal, Posterior
from ppvae.priors import Prior, StandardNormal


class SpatialVAE(VAE):
    """The VAE p(pose) p(z) p(x | pose, z), whose pose turns, moves and resizes the content z.

        log p(x) >= E_q[log p(x | pose, z)] - KL[q(pose, z|x) || N(0, I)]

    (Bepler, Zhong, Kelley, Brignole and Berger, "Explicitly disentangling image content from
    translation and rotation with spatial-VAE", 2019). The site "z" holds the pose, then the
    content; `networks.SpatialDecoder` says how. A large network may draw a turned image as another
    content: where the pose stays near 0, take a smaller one, or larger units of the pose.

    Args:
        prior: p(pose, z).
        likelihood: p(x | pose, z), whose network is a `networks.SpatialDecoder`.
        posterior: q(pose, z|x).

    Raises:
        TypeError: if a factor is not of its role.

    Example:
        >>> from ppvae import data
        >>> digits = data.digits()
        >>> pair = SpatialVAE.of(digits, latent=3)
        >>> angle, shift, log_size = pair.pose(digits.test[:4])
        >>> angle.shape, shift.shape, pair.align(digits.test[:4]).shape
        (torch.Size([4]), torch.Size([4, 2]), torch.Size([4, 64]))
    """

    def __init__(self, prior: Prior, likelihood: Likelihood, posterior: Posterior) -> None:
        super().__init__(prior, likelihood, posterior)
        if not isinstance(likelihood.network, SpatialDecoder):
            raise TypeError(
                "SpatialVAE needs a likelihood whose network is a networks.SpatialDecoder, got "
                f"{type(likelihood.network).__name__}"
            )

    @property
    def decoder(self) -> SpatialDecoder:
        """The network that draws an image point by point."""
        assert isinstance(self.likelihood.network, SpatialDecoder)
        return self.likelihood.network

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        *,
        latent: int = 10,
        rotation: float = math.pi / 4,
        shift: float = 0.1,
        scale: float = 0.0,
        network: Callable[[int, int], nn.Module] = MLP,
        encoder: Callable[[int, int], nn.Module] = MLP,
        likelihood: Callable[[nn.Module], Likelihood] | None = None,
        posterior: Callable[[nn.Module], Posterior] = DiagonalNormal,
    ) -> Self:
        """Build the pair for images.

        Args:
            dataset: the data; a datapoint is an image as a vector.
            latent: number of latents of the content.
            rotation: standard deviation of the angle in radians, 0 for images that are not turned.
            shift: that of the shift, where 2 is the side of an image.
            scale: that of the logarithm of the size.
            network: called with the sizes of input and output, for what draws the content on a
                `networks.Canvas`.
            encoder: called with the sizes of input and output.
            likelihood: called with the decoder; without it the support decides.
            posterior: called with the encoder.

        Raises:
            ValueError: if the data are no images, or a number is too small.
            Unsupported: if no likelihood is known for the support.
        """
        if dataset.image_shape is None:
            raise ValueError(f"SpatialVAE needs images, dataset {dataset.name!r} has none")
        placed = functools.partial(
            SpatialDecoder,
            shape=dataset.image_shape,
            content=latent,
            rotation=rotation,
            shift=shift,
            scale=scale,
        )
        size = placed(nn.Identity()).latent
        parts = Parts(
            dataset, latent=size, network=encoder, likelihood=likelihood, posterior=posterior
        )
        outputs = parts.family(nn.Identity()).outputs_for(parts.features)
        factor = parts.family(placed(Canvas(network(latent, outputs), dataset.image_shape)))
        return cls(StandardNormal(size), factor, parts.posterior())

    def pose(self, x: Array) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean pose of images under the guide.

        Returns:
            Angles in radians `(data,)`, shifts down and right `(data, 2)`, where 2 is the side of
            an image, and logarithms of the size `(data,)`.
        """
        return self.decoder.poses(self.encode(x).mean)

    @torch.no_grad()
    def align(self, x: Array) -> Tensor:
        """Return images of the same content at the pose 0, of the shape of `x`."""
        z = self.encode(x).mean.clone()
        z[..., : self.decoder.pose] = 0
        mean: Tensor = self.decode(z).mean
        return mean

    @torch.no_grad()
    def turned(self, x: Array, angle: float) -> Tensor:
        """Return images turned by an angle in radians, against the clock, of the shape of `x`."""
        (x,) = tensors_of(self, (x,), "x")
        with evaluating(self):
            z = self.encode(x).mean.clone()
            z[..., 0] += angle / self.decoder.rotation
            mean: Tensor = self.decode(z).mean
        return mean
