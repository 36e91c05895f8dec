"""Synthetic data with known hidden factors."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.data.dataset import Dataset
from ppvae.data.splitting import split


def segments(
    rows: int = 5000,
    *,
    lengths: Sequence[float] | None = None,
    jitter: float = 0.0,
    wobble: float = 0.0,
    noise: float = 0.0,
    size: int = 16,
    seed: int = 0,
) -> Dataset:
    """Return images of horizontal line segments whose length is their only hidden factor.

    By default they are drawn exactly; `jitter`, `wobble` and `noise` imitate the small errors of
    a human hand.

    Args:
        rows: number of images.
        lengths: the classes of length, such as `(1, 3, 5)`, each equally likely; without them the
            length is uniform between 1 and 5. Length 5 spans three quarters of the screen.
        jitter: standard deviation in pixels of each end's position, along both axes.
        wobble: standard deviation of the angle in degrees.
        noise: standard deviation of normal noise on every pixel, whose values are in [0, 1].
        size: height and width in pixels.
        seed: the seed of all random numbers.

    Returns:
        Vectors of `size * size` pixels; the factor "length", and the class as label if there are
        classes. Support [0, 1], the real line with noise.

    Raises:
        ValueError: if a length is outside (0, 5], or another argument negative.

    Example:
        >>> three = segments(90, lengths=(1, 3, 5))
        >>> three.factor_names, three.labels["test"].max().item() <= 2
        (('length',), True)
    """
    generator = _generator("segments", rows, size, seed, jitter=jitter, wobble=wobble, noise=noise)
    classes = None
    if lengths is None:
        length = 1 + 4 * torch.rand(rows, generator=generator)
    else:
        choices = torch.as_tensor(lengths, dtype=torch.float32)
        if len(choices) == 0 or not bool(((choices > 0) & (choices <= 5)).all()):
            raise ValueError(f"segments needs lengths in (0, 5], got {list(lengths)}")
        classes = torch.randint(len(choices), (rows,), generator=generator)
        length = choices[classes]
    half = length[:, None] * 0.75 * size / 10
    angle = torch.deg2rad(wobble * torch.randn(rows, 1, generator=generator))
    direction = torch.cat([angle.cos(), angle.sin()], dim=1)
    shake = jitter * torch.randn(2, rows, 2, generator=generator)
    start, end = size / 2 + torch.stack([-half * direction, half * direction]) + shake
    return split(
        "segments",
        _noisy(_stroke(start, end, size), noise, generator),
        constraints.unit_interval if noise == 0 else constraints.real,
        labels=classes,
        factors={"length": length},
        image_shape=(size, size),
        seed=seed,
    )


def colors(rows: int = 5000, *, noise: float = 0.02, seed: int = 0) -> Dataset:
    """Return RGB colors whose red value is a function of one latent factor z ~ N(0, 1).

    A datapoint is (red, green, blue) with red = `redness(z)`, which depends on |z| alone, and
    green = blue = 0, each with normal noise. z and -z give the same color, so p(z|x) has two
    modes.

    Args:
        rows: number of colors.
        noise: standard deviation of the noise on each channel.
        seed: the seed of all random numbers.

    Returns:
        Vectors of three real numbers, and the factor "z".

    Raises:
        ValueError: if an argument is negative.

    Example:
        >>> colors(50).train.shape
        torch.Size([40, 3])
    """
    generator = _generator("colors", rows, 1, seed, noise=noise)
    z = torch.randn(rows, generator=generator)
    red = redness(z)
    color = torch.stack([red, torch.zeros_like(red), torch.zeros_like(red)], dim=1)
    return split(
        "colors",
        _noisy(color, noise, generator),
        constraints.real,
        factors={"z": z},
        seed=seed,
    )


def redness(z: Tensor) -> Tensor:
    """Return the red value of `colors`, exp(-|z| / 2): 1 at z = 0, and less the larger |z|.

    Example:
        >>> redness(torch.tensor([0.0, 2.0, -2.0]))
        tensor([1.0000, 0.3679, 0.3679])
    """
    return torch.exp(-z.abs() / 2)


def factors(rows: int = 10_000, *, noise: float = 0.0, size: int = 16, seed: int = 0) -> Dataset:
    """Return images of squares with four independent hidden factors: x, y, size, brightness.

    The center is uniform over the middle half of the screen, the side uniform between a fifth and
    a half of it, the brightness uniform between 0.3 and 1.

    Args:
        rows: number of images.
        noise: standard deviation of normal noise on every pixel, whose values are in [0, 1].
        size: height and width in pixels.
        seed: the seed of all random numbers.

    Returns:
        Vectors of `size * size` pixels and the four factors, lengths as fractions of the screen.
        Support [0, 1], the real line with noise.

    Raises:
        ValueError: if an argument is negative.

    Example:
        >>> factors(50).factor_names
        ('x', 'y', 'size', 'brightness')
    """
    generator = _generator("factors", rows, size, seed, noise=noise)
    low = torch.tensor([0.25, 0.25, 0.2, 0.3])
    high = torch.tensor([0.75, 0.75, 0.5, 1.0])
    drawn = low + (high - low) * torch.rand(rows, 4, generator=generator)
    x, y, side, brightness = drawn.T
    across, down = (_cover(center, side, size) for center in (x, y))
    images = brightness[:, None, None] * down[:, :, None] * across[:, None, :]
    return split(
        "factors",
        _noisy(images.flatten(1), noise, generator),
        constraints.unit_interval if noise == 0 else constraints.real,
        factors={"x": x, "y": y, "size": side, "brightness": brightness},
        image_shape=(size, size),
        seed=seed,
    )


def _generator(name: str, rows: int, size: int, seed: int, **spreads: float) -> torch.Generator:
    if rows < 1 or size < 1:
        raise ValueError(f"{name} needs rows >= 1 and size >= 1, got {rows} and {size}")
    for argument, value in spreads.items():
        if not 0 <= value < float("inf"):
            raise ValueError(
                f"{name} needs {argument} to be a finite number of at least 0, got {value}"
            )
    return torch.Generator().manual_seed(seed)


def _noisy(values: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    return values + noise * torch.randn(values.shape, generator=generator) if noise else values


def _stroke(start: Tensor, end: Tensor, size: int) -> Tensor:
    """Draw segments two pixels thick, `(rows, size * size)`; a pixel fades with its distance."""
    centers = torch.arange(size) + 0.5
    y, x = torch.meshgrid(centers, centers, indexing="ij")
    pixels = torch.stack([x.flatten(), y.flatten()], dim=-1)
    along = (end - start)[:, None]
    offset = pixels - start[:, None]
    position = (offset * along).sum(-1) / along.square().sum(-1).clamp(min=1e-12)
    distance = (offset - position.clamp(0, 1)[..., None] * along).norm(dim=-1)
    return torch.clamp(1.5 - distance, 0, 1)


def _cover(center: Tensor, side: Tensor, size: int) -> Tensor:
    """Return how much of each pixel an interval covers, `(rows, size)`."""
    left = torch.arange(size) / size
    start, end = (center - side / 2)[:, None], (center + side / 2)[:, None]
    overlap = torch.minimum(end, left + 1 / size) - torch.maximum(start, left)
    return (overlap * size).clamp(0, 1)
