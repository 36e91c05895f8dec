"""Series of a linear-Gaussian state-space model, whose log P(X) the Kalman filter knows."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.data.dataset import Dataset
from ppvae.data.splitting import split


def state_space(
    rows: int = 2000,
    steps: int = 20,
    *,
    transition: Tensor | None = None,
    emission: Tensor | None = None,
    inner: float = 0.6,
    outer: float = 0.8,
    shortest: int | None = None,
    seed: int = 0,
) -> Dataset:
    """Return series of a linear-Gaussian state-space model that starts at the state 0.

        z_t = A z_{t-1} + N(0, inner^2),  x_t = C z_t + N(0, outer^2),  z_0 = 0

    The Kalman filter gives their log P(X) (Kalman, "A new approach to linear filtering and
    prediction problems", 1960), in Pyro as `GaussianHMM`.

    Args:
        rows: how many series.
        steps: T, of the longest.
        transition: A, `(latent, latent)`; unless given, a turn by 0.5 that shrinks by a tenth.
        emission: C, `(features, latent)`; unless given, three features of two states.
        inner: standard deviation of the state's noise.
        outer: standard deviation of a feature's noise.
        shortest: steps of the shortest; lengths are uniform from there to `steps`, and are the
            dataset's condition. All are of one length unless given.
        seed: the seed of all random numbers.

    Returns:
        Series `(data, steps, features)`, 0 at padded steps.

    Raises:
        ValueError: if a size or a matrix's shape is none that goes with the others.

    Example:
        >>> series = state_space(100, 12, shortest=5)
        >>> series.event_shape, series.conditions["test"][0].min() >= 5
        (torch.Size([12, 3]), tensor(True))
    """
    turn = torch.tensor([[0.79, -0.43], [0.43, 0.79]]) if transition is None else transition
    mix = torch.tensor([[1.0, 0.0], [0.5, -1.0], [-0.7, 0.8]]) if emission is None else emission
    latent = mix.shape[-1]
    if turn.shape != (latent, latent) or mix.dim() != 2:
        raise ValueError(
            "state_space needs transition (latent, latent) and emission (features, latent), got "
            f"{tuple(turn.shape)} and {tuple(mix.shape)}"
        )
    if rows < 1 or not 1 <= (steps if shortest is None else shortest) <= steps:
        raise ValueError(
            f"state_space needs rows >= 1 and 1 <= shortest <= steps, got {rows}, {shortest} and "
            f"{steps}"
        )
    generator = torch.Generator().manual_seed(seed)
    noise = inner * torch.randn(rows, steps, latent, generator=generator)
    z, states = torch.zeros(rows, latent), []
    for step in range(steps):
        z = z @ turn.T + noise[:, step]
        states.append(z)
    x = torch.stack(states, 1) @ mix.T
    x = x + outer * torch.randn(x.shape, generator=generator)
    length = torch.randint(shortest or steps, steps + 1, (rows,), generator=generator)
    x = torch.where((torch.arange(steps) < length[:, None])[..., None], x, 0.0)
    series = split("state_space", x, constraints.real, seed=seed)
    series = replace(series, series_shape=(steps, len(mix)))
    if shortest is None:
        return series
    given = {part: (length[place],) for part, place in series.rows.items()}
    return replace(series, conditions=given)
