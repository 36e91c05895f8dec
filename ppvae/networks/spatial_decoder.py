"""A decoder that draws an image point by point, so that it can turn and move it."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SpatialDecoder(nn.Module):
    """Gives an image whose content is turned, moved and resized by the first latents.

    Each pixel is a function of its own place and of the content alone, f(u, content), where

        u = exp(-s) R(-angle) (pixel - shift)

    and pixels lie in [-1, 1] x [-1, 1]. The image is that of f, made larger by exp(s), turned by
    the angle and moved by the shift (Bepler, Zhong, Kelley, Brignole and Berger, "Explicitly
    disentangling image content from translation and rotation with spatial-VAE", 2019). The latents
    are, in this order, the angle, the shift (2), s, and the content; those whose unit is 0 are not
    there. Under N(0, I) the units are their standard deviations.

    Shapes: `(*, pose + content)` to `(*, height * width * outputs)`, first all pixels of the first
    output.

    Args:
        network: f, module from places `(*, pixels, 2)`, down and right, and content
            `(*, 1, content)` to `(*, pixels, outputs)`: a `networks.Canvas`, or `networks.Joined`
            of a network of both.
        shape: height and width.
        content: number of latents of the content.
        rotation: unit of the angle in radians.
        shift: unit of the shift; 2 is the side of the image.
        scale: unit of s.

    Raises:
        ValueError: if there is no pixel, no content, or a unit is negative.

    Example:
        >>> from ppvae.networks import Joined
        >>> decoder = SpatialDecoder(Joined(nn.Linear(2 + 3, 1)), (8, 8), content=3)
        >>> decoder.pose, decoder(torch.zeros(5, decoder.latent)).shape
        (3, torch.Size([5, 64]))
    """

    grid: Tensor

    def __init__(
        self,
        network: nn.Module,
        shape: Sequence[int],
        content: int,
        rotation: float = math.pi / 4,
        shift: float = 0.1,
        scale: float = 0.0,
    ) -> None:
        super().__init__()
        if len(shape) != 2 or min(shape) < 2 or content < 1:
            raise ValueError(
                "SpatialDecoder needs height and width of at least 2 and some content, got "
                f"{tuple(shape)} and {content}"
            )
        if min(rotation, shift, scale) < 0:
            raise ValueError(
                f"SpatialDecoder needs units of at least 0, got {rotation}, {shift} and {scale}"
            )
        self.network, self.shape, self.content = network, tuple(shape), content
        self.rotation, self.shift, self.scale = rotation, shift, scale
        down, right = (
            torch.linspace(-1, 1, size) if size > 1 else torch.zeros(1) for size in shape
        )
        self.register_buffer("grid", torch.cartesian_prod(down, right), persistent=False)

    @property
    def pose(self) -> int:
        """How many latents say where the content is."""
        return bool(self.rotation) + 2 * bool(self.shift) + bool(self.scale)

    @property
    def latent(self) -> int:
        """How many latents there are."""
        return self.pose + self.content

    def poses(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return angles in radians `(*,)`, shifts down and right `(*, 2)`, and s `(*,)`."""
        left = list(z[..., : self.pose].unbind(-1))
        zero = torch.zeros_like(z[..., 0])
        angle = self.rotation * left.pop(0) if self.rotation else zero
        pair = [self.shift * left.pop(0) for _ in range(2)] if self.shift else [zero, zero]
        return angle, torch.stack(pair, -1), self.scale * left.pop(0) if self.scale else zero

    def forward(self, z: Tensor) -> Tensor:
        """Map latents to the outputs of all pixels."""
        if z.shape[-1:] != (self.latent,):
            raise ValueError(
                f"SpatialDecoder needs {self.latent} latents, got shape {tuple(z.shape)}"
            )
        angle, shift, log_size = self.poses(z)
        cos, sin = angle.cos(), angle.sin()
        # Of row vectors: the inverse of a rotation is its transpose.
        turn = torch.stack([cos, -sin, sin, cos], -1).unflatten(-1, (2, 2))
        centered = self.grid - shift.unsqueeze(-2)
        own = centered @ turn * (-log_size).exp()[..., None, None]
        output: Tensor = self.network(own, z[..., self.pose :].unsqueeze(-2))
        return output.transpose(-1, -2).flatten(-2)
